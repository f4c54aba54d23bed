//! Event files for TensorBoard.
//!
//! The format: records of `TFRecord` (length, masked CRC-32C of it, bytes, masked CRC-32C of them), each an `Event` of
//! tensorflow/core/util/event.proto. The messages here have the fields that are written.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::files::{at, make_directory};
use crate::{Event, Observer, Scalars, TrainError};

const PREFIX: &str = "events.out.tfevents.";
const SUFFIX: &str = ".ingle";

/// Writes a run's [`Scalars`] and some text as event files, which TensorBoard shows.
///
/// A single learner's file is in the run's directory, a population's are in `member-0`, `member-1`, ... below it, where
/// TensorBoard takes them for runs and draws them into one chart. Files are written to after every reading of the
/// metrics and every evaluation.
#[derive(Debug)]
pub struct EventFiles {
    members: Vec<EventFile>,
    scalars: Scalars,
}

impl EventFiles {
    /// Begins the files of a run of `members` learners in `directory`: new ones, which replace those that are there (the
    /// last of them stays, empty, for a TensorBoard that has it open).
    /// `texts` (tag and Markdown) come first, then what happened in the run until now. A TensorBoard that has already
    /// shown more than that forgets it.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn create<'a>(
        directory: &Path,
        members: usize,
        log_interval: u64,
        texts: &[(&str, String)],
        history: impl IntoIterator<Item = Event<'a>>,
    ) -> Result<Self, TrainError> {
        let history: Vec<Event<'_>> = history.into_iter().collect();
        let seconds = |event: &Event<'_>| match event {
            Event::Metrics { seconds, .. } | Event::Evaluation { seconds, .. } => Some(*seconds),
            _ => None,
        };
        let elapsed = history.iter().filter_map(seconds).next_back().unwrap_or_default();
        let start = now() - elapsed;
        let places = match members {
            1 => vec![directory.to_owned()],
            _ => (0..members).map(|member| directory.join(format!("member-{member}"))).collect(),
        };
        let members = places
            .iter()
            .map(|place| EventFile::create(place, start, texts))
            .collect::<Result<Vec<_>, _>>()?;
        let mut files = Self { members, scalars: Scalars::new(log_interval) };
        let mut time = start;
        for event in &history {
            time = seconds(event).map_or(time, |seconds| start + seconds);
            files.add(event, time);
        }
        files.flush()?;
        Ok(files)
    }

    fn add(&mut self, event: &Event<'_>, time: f64) {
        let scalars = self.scalars.of(event);
        for (member, file) in self.members.iter_mut().enumerate() {
            let own = scalars.iter().filter(|scalar| scalar.member == member);
            let values: Vec<proto::Value> =
                own.map(|scalar| proto::Value::scalar(&scalar.tag, scalar.value)).collect();
            if !values.is_empty() {
                file.push(time, event.env_steps(), proto::What::Summary(proto::Summary { value: values }));
            }
        }
    }

    fn flush(&mut self) -> Result<(), TrainError> {
        self.members.iter_mut().try_for_each(EventFile::flush)
    }
}

impl Observer for EventFiles {
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        match event {
            Event::Progress(_) => return Ok(()),
            _ => self.add(event, now()),
        }
        if let Event::Episode { .. } = event { Ok(()) } else { self.flush() }
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// One file. It is opened for each writing: a large population has more of them than a process may have open.
#[derive(Debug)]
struct EventFile {
    path: PathBuf,
    buffer: Vec<u8>,
}

impl EventFile {
    fn create(directory: &Path, time: f64, texts: &[(&str, String)]) -> Result<Self, TrainError> {
        make_directory(directory)?;
        let mut old = Vec::new();
        for entry in fs::read_dir(directory).map_err(at(directory))? {
            let name = entry.map_err(at(directory))?.file_name().to_string_lossy().into_owned();
            let number =
                name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)?.parse::<u64>().ok());
            if let Some(number) = number {
                old.push((number, directory.join(name)));
            }
        }
        // TensorBoard reads files in the order of their names and never goes back.
        let number = old.iter().map(|(number, _)| number + 1).fold(now() as u64, u64::max);
        old.sort();
        if let Some((_, path)) = old.pop() {
            // One that has been reading this file only goes on to the next while it is there.
            OpenOptions::new().write(true).truncate(true).open(&path).map_err(at(&path))?;
        }
        for (_, path) in old {
            fs::remove_file(&path).map_err(at(&path))?;
        }
        let path = directory.join(format!("{PREFIX}{number:010}{SUFFIX}"));
        let mut file = Self { path, buffer: Vec::new() };
        file.push(time, 0, proto::What::FileVersion("brain.Event:2".into()));
        file.push(time, 0, proto::What::SessionLog(proto::SessionLog { status: proto::START }));
        for (tag, text) in texts {
            let value = vec![proto::Value::text(tag, text)];
            file.push(time, 0, proto::What::Summary(proto::Summary { value }));
        }
        Ok(file)
    }

    fn push(&mut self, wall_time: f64, step: u64, what: proto::What) {
        let event =
            proto::Event { wall_time, step: i64::try_from(step).unwrap_or(i64::MAX), what: Some(what) };
        let bytes = event.encode_to_vec();
        let length = (bytes.len() as u64).to_le_bytes();
        for part in [&length[..], &bytes] {
            self.buffer.extend_from_slice(part);
            self.buffer.extend_from_slice(&masked_crc(part).to_le_bytes());
        }
    }

    fn flush(&mut self) -> Result<(), TrainError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(&self.buffer))
            .map_err(at(&self.path))?;
        self.buffer.clear();
        Ok(())
    }
}

/// `TFRecord`'s checksum.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The messages, with the numbers of their fields.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Event {
        #[prost(double, tag = "1")]
        pub(super) wall_time: f64,
        #[prost(int64, tag = "2")]
        pub(super) step: i64,
        #[prost(oneof = "What", tags = "3, 5, 7")]
        pub(super) what: Option<What>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum What {
        #[prost(string, tag = "3")]
        FileVersion(String),
        #[prost(message, tag = "5")]
        Summary(Summary),
        #[prost(message, tag = "7")]
        SessionLog(SessionLog),
    }

    /// A session's status that makes TensorBoard forget all events from its step on.
    pub(super) const START: i32 = 1;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct SessionLog {
        #[prost(int32, tag = "1")]
        pub(super) status: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Summary {
        #[prost(message, repeated, tag = "1")]
        pub(super) value: Vec<Value>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Value {
        #[prost(string, tag = "1")]
        pub(super) tag: String,
        #[prost(message, optional, tag = "9")]
        pub(super) metadata: Option<Metadata>,
        #[prost(oneof = "Content", tags = "2, 8")]
        pub(super) content: Option<Content>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Content {
        #[prost(float, tag = "2")]
        Scalar(f32),
        #[prost(message, tag = "8")]
        Tensor(Tensor),
    }

    /// What a value is for.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metadata {
        #[prost(message, optional, tag = "1")]
        plugin: Option<Plugin>,
        #[prost(int32, tag = "4")]
        data_class: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Plugin {
        #[prost(string, tag = "1")]
        name: String,
    }

    /// A vector of strings.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Tensor {
        #[prost(int32, tag = "1")]
        element: i32,
        #[prost(message, optional, tag = "2")]
        shape: Option<Shape>,
        #[prost(bytes = "vec", repeated, tag = "8")]
        pub(super) strings: Vec<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Shape {
        #[prost(message, repeated, tag = "2")]
        sizes: Vec<Size>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Size {
        #[prost(int64, tag = "1")]
        size: i64,
    }

    /// `DataType::DT_STRING` and `DataClass::DATA_CLASS_TENSOR`.
    const STRING: i32 = 7;
    const TENSOR: i32 = 2;

    impl Value {
        pub(super) fn scalar(tag: &str, value: f64) -> Self {
            Self { tag: tag.into(), metadata: None, content: Some(Content::Scalar(value as f32)) }
        }

        pub(super) fn text(tag: &str, text: &str) -> Self {
            let shape = Some(Shape { sizes: vec![Size { size: 1 }] });
            let tensor = Tensor { element: STRING, shape, strings: vec![text.into()] };
            let metadata = Metadata { plugin: Some(Plugin { name: "text".into() }), data_class: TENSOR };
            Self { tag: tag.into(), metadata: Some(metadata), content: Some(Content::Tensor(tensor)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EpisodeStatistics;

    /// The events of a file, every checksum verified.
    fn read(path: &Path) -> Vec<proto::Event> {
        let bytes = fs::read(path).unwrap();
        let (mut rest, mut events) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let mut take = |count: usize| {
                let (part, tail) = rest.split_at(count);
                rest = tail;
                let (crc, tail) = rest.split_at(4);
                rest = tail;
                assert_eq!(crc, masked_crc(part).to_le_bytes());
                part
            };
            let length = u64::from_le_bytes(take(8).try_into().unwrap());
            events.push(proto::Event::decode(take(length as usize)).unwrap());
        }
        events
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
        files.sort();
        files
    }

    fn scalars(events: &[proto::Event]) -> Vec<(i64, String, f32)> {
        let mut scalars = Vec::new();
        for event in events {
            let Some(proto::What::Summary(summary)) = &event.what else { continue };
            for value in &summary.value {
                if let Some(proto::Content::Scalar(scalar)) = value.content {
                    scalars.push((event.step, value.tag.clone(), scalar));
                }
            }
        }
        scalars
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("ingle-tensorboard-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn evaluation(env_steps: u64, means: &[f64]) -> Event<'static> {
        let members = means.iter().map(|mean| EpisodeStatistics::of([(*mean, 5)]).unwrap()).collect();
        Event::Evaluation { env_steps, updates: 0, seconds: 2.5, members }
    }

    /// As `RecordWriter` of the package tensorboard 2.21 writes it.
    #[test]
    fn a_record_is_that_of_tensorboard() {
        let mut file = EventFile { path: PathBuf::new(), buffer: Vec::new() };
        file.push(1_440_183_447.0, 0, proto::What::FileVersion("brain.Event:2".into()));
        let expected = "1800000000000000a37f4b22090000c025dd75d5411a0d627261696e2e4576656e743a328d1adbaf";
        let hexadecimal: Vec<String> = file.buffer.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hexadecimal.concat(), expected);
    }

    #[test]
    fn every_member_has_a_file_that_begins_with_the_history() {
        let directory = scratch("members");
        let text = [("config", "    seed = 3".to_owned())];
        let history = [evaluation(10, &[1.0, 2.0])];
        let mut events = EventFiles::create(&directory, 2, 100, &text, history).unwrap();
        events.observe(&evaluation(20, &[3.0, f64::NAN])).unwrap();
        for member in 0..2 {
            let files = files(&directory.join(format!("member-{member}")));
            assert_eq!(files.len(), 1, "{files:?}");
            let events = read(&files[0]);
            assert!(
                matches!(&events[0].what, Some(proto::What::FileVersion(text)) if text == "brain.Event:2")
            );
            assert!(matches!(events[1].what, Some(proto::What::SessionLog(proto::SessionLog { status: 1 }))));
            let Some(proto::What::Summary(summary)) = &events[2].what else { panic!("{:?}", events[2]) };
            let Some(proto::Content::Tensor(tensor)) = &summary.value[0].content else {
                panic!("{summary:?}")
            };
            assert_eq!(
                (summary.value[0].tag.as_str(), &tensor.strings[0][..]),
                ("config", &b"    seed = 3"[..])
            );
            let means: Vec<(i64, f32)> = scalars(&events)
                .into_iter()
                .filter(|(_, tag, _)| tag == "eval/mean_reward")
                .map(|(step, _, value)| (step, value))
                .collect();
            assert_eq!(means[0], (10, 1.0 + member as f32));
            assert_eq!(means[1].0, 20);
            assert!(if member == 0 { means[1].1 == 3.0 } else { means[1].1.is_nan() });
            assert!(events.windows(2).all(|pair| pair[0].wall_time <= pair[1].wall_time), "{events:?}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_run_that_goes_on_has_a_file_with_a_later_name_and_empties_the_one_before() {
        let directory = scratch("later");
        let make = |history: &[Event<'static>]| {
            EventFiles::create(&directory, 1, 100, &[], history.iter().cloned()).unwrap();
            let mut files = files(&directory);
            files.retain(|path| !path.ends_with("events.out.tfevents.77.of-another"));
            files
        };
        let first = make(&[evaluation(10, &[1.0]), evaluation(20, &[2.0])]);
        fs::write(directory.join("events.out.tfevents.77.of-another"), "x").unwrap();
        make(&[evaluation(10, &[1.0])]);
        let last = make(&[evaluation(10, &[1.0])]);
        assert_eq!(last.len(), 2, "{last:?}");
        assert!(last[0] > first[0] && !first[0].exists(), "{last:?} after {first:?}");
        assert_eq!(fs::metadata(&last[0]).unwrap().len(), 0);
        assert_eq!(scalars(&read(&last[1])).len(), 3);
        assert_eq!(fs::read(directory.join("events.out.tfevents.77.of-another")).unwrap(), b"x");
        fs::remove_dir_all(&directory).unwrap();
    }

    /// As with the metrics: the error names the file, and the run that it ends can go on.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error() {
        let mut file = EventFile { path: "/dev/full".into(), buffer: vec![0] };
        let error = file.flush().unwrap_err();
        assert!(error.to_string().starts_with("/dev/full: "), "{error}");
    }
}
