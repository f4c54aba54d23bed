//! Serves [`LinearActorCritic`]; with an argument, as badly as it says.

use std::io::{Read, Write};
use std::time::Duration;

use ingle::train::process::{Hello, Remote, serve};
use ingle_testing::remote::LinearActorCritic;

/// A learner whose answers take `0`, or that ends in the middle of an update.
struct Faulty {
    learner: LinearActorCritic,
    fault: String,
}

impl Remote for Faulty {
    fn step(&mut self, batch: ingle::train::process::Batch) -> Result<ingle::train::process::Answer, String> {
        match self.fault.as_str() {
            "exit" => std::process::exit(3),
            "abort" => std::process::abort(),
            "silent" => std::thread::sleep(Duration::from_hours(1)),
            "print" => println!("loss: 0.5"),
            "unasked" => print!("A\0\0\0\0"),
            "other" => print!("A\u{4}\0\0\0abcd"),
            "few" => {
                let mut answer = self.learner.step(batch)?;
                answer.td_error = answer.td_error.map(|errors| errors[1..].to_vec());
                return Ok(answer);
            }
            "close" => {
                // Half an answer, then nothing more.
                print!("S\u{8}\0\0\0ab");
                std::io::stdout().flush().map_err(|error| error.to_string())?;
                std::process::exit(0);
            }
            _ => (),
        }
        self.learner.step(batch)
    }

    fn act(&mut self, observation: &[f32], noise: Option<&[f32]>) -> Result<Vec<f32>, String> {
        let mut actions = self.learner.act(observation, noise)?;
        if self.fault == "short" {
            actions.pop();
        }
        Ok(actions)
    }
}

fn main() -> std::io::Result<()> {
    let fault = std::env::args().nth(1).unwrap_or_default();
    match fault.as_str() {
        "" => return serve(LinearActorCritic::new),
        // As much output as a pipe holds several times over, before a word is read.
        "flood" => {
            std::io::stdout().write_all(&vec![b'E'; 1 << 22])?;
        }
        "deaf" => {
            std::thread::sleep(Duration::from_hours(1));
        }
        // Its input ends, and it stays.
        "stay" => {
            serve(LinearActorCritic::new)?;
            std::thread::sleep(Duration::from_hours(1));
        }
        "version" => {
            let mut hello = [0; 25];
            std::io::stdin().read_exact(&mut hello)?;
            std::io::stdout().write_all(b"H\x04\0\0\0\x09\0\0\0")?;
        }
        _ => return serve(|hello: &Hello| Ok(Faulty { learner: LinearActorCritic::new(hello)?, fault })),
    }
    Ok(())
}
