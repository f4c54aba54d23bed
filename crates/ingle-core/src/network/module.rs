//! Your own burn modules as actors and critics.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorCreationOptions, TensorData};

use super::{Actor, Critic, Layout, Network};
use crate::random::RandomStream;
use crate::{Error, Result};

/// A burn module that maps observations `[B, O]` to a policy head's outputs.
pub trait ActorModule: Module {
    /// `[B, O]` to `[B, outputs]`.
    fn forward(&self, observation: Tensor<2>) -> Tensor<2>;
}

/// A burn module that maps observations `[B, O]` and actions `[B, A]` to values `[B, 1]`.
pub trait CriticModule: Module {
    /// `[B, O]` and `[B, A]` to `[B, 1]`.
    fn forward(&self, observation: Tensor<2>, action: Tensor<2>) -> Tensor<2>;
}

/// A burn module as an [`Actor`]; gradients come from burn's autodiff.
///
/// Members of a population run one after the other: use [`super::MlpActor`] where many members matter. Buffers that a
/// module changes in its forward pass (batch norm's running statistics) are not part of the state.
#[derive(Debug, Clone)]
pub struct ModuleActor<M> {
    copies: Copies<M>,
    observation: usize,
    output: usize,
}

/// A burn module as an ensemble of K [`Critic`]s; gradients come from burn's autodiff.
#[derive(Debug, Clone)]
pub struct ModuleCritic<M> {
    copies: Copies<M>,
    observation: usize,
    action: usize,
}

/// A module's forward passes, recorded by burn's autodiff.
#[derive(Debug)]
pub struct ModuleTape {
    output: Tensor<3>,
    leaves: Vec<Vec<Tensor<1>>>,
    action: Option<Tensor<3>>,
}

impl<M: ActorModule> ModuleActor<M> {
    /// Takes a function that makes the module with fresh parameters on a device. It is called once per member, after
    /// the device's generator was seeded from the member's stream, so that equal seeds give equal parameters.
    ///
    /// # Errors
    /// [`Error::Config`] if the module has no float parameters.
    pub fn new(init: fn(&Device) -> M, observation: usize, output: usize, device: &Device) -> Result<Self> {
        Ok(Self { copies: Copies::new(init, 1, device)?, observation, output })
    }
}

impl<M: CriticModule> ModuleCritic<M> {
    /// Takes a function that makes the module with fresh parameters on a device, as [`ModuleActor::new`] does, and
    /// the number K of critics.
    ///
    /// # Errors
    /// [`Error::Config`] if the module has no float parameters, or `ensemble` is 0.
    pub fn new(
        init: fn(&Device) -> M,
        observation: usize,
        action: usize,
        ensemble: usize,
        device: &Device,
    ) -> Result<Self> {
        Ok(Self { copies: Copies::new(init, ensemble, device)?, observation, action })
    }
}

/// What actors and critics made of modules share: a template, and K copies' parameters one after the other.
#[derive(Debug, Clone)]
struct Copies<M> {
    init: fn(&Device) -> M,
    template: M,
    ensemble: usize,
    shapes: Vec<Vec<usize>>,
    layout: Layout,
}

impl<M: Module> Copies<M> {
    fn new(init: fn(&Device) -> M, ensemble: usize, device: &Device) -> Result<Self> {
        let template = init(device);
        let mut shapes = Shapes::default();
        template.visit(&mut shapes);
        let shapes = shapes.0;
        if shapes.is_empty() || ensemble == 0 {
            return Err(Error::Config(vec![format!(
                "network: the module has {} float parameters and {ensemble} copies, both must be at least 1",
                shapes.len()
            )]));
        }
        let mut layout = Layout::default();
        for copy in 0..ensemble {
            for (index, shape) in shapes.iter().enumerate() {
                layout.push(format!("{copy}/{index}"), shape.clone());
            }
        }
        Ok(Self { init, template, ensemble, shapes, layout })
    }

    fn init(&self, streams: &mut [RandomStream], options: &TensorCreationOptions) -> Result<Tensor<2>> {
        let mut members = Vec::with_capacity(streams.len());
        for stream in streams {
            let mut values = Vec::with_capacity(self.layout.size());
            for _ in 0..self.ensemble {
                // A user's module draws from the device's global generator: seed it from our own stream just before.
                options.device.seed(stream.index(usize::MAX) as u64);
                let mut reader = Values::default();
                (self.init)(&options.device).visit(&mut reader);
                values.extend(reader.0);
            }
            if values.len() != self.layout.size() {
                return Err(Error::Config(vec![format!(
                    "network: the module came out with {} parameters, its template has {}",
                    values.len(),
                    self.layout.size()
                )]));
            }
            members.push(values);
        }
        let shape = [members.len(), self.layout.size()];
        Ok(Tensor::from_data(TensorData::new(members.concat(), shape), options.clone()))
    }

    /// Copy `copy` of member `member` with the given parameters, made by `leaf` from each flat tensor.
    fn module(
        &self,
        parameters: &Tensor<2>,
        member: usize,
        copy: usize,
        leaf: impl FnMut(Tensor<1>) -> Tensor<1>,
    ) -> M {
        let per_copy = self.shapes.len();
        let row = parameters.clone().narrow(0, member, 1);
        let tensors =
            (0..per_copy).map(|index| self.layout.slice(&row, copy * per_copy + index).flatten::<1>(0, 1));
        let mut setter = Setter { values: tensors.map(leaf).collect::<Vec<_>>().into_iter() };
        self.template.clone().map(&mut setter)
    }

    /// Runs every copy of every member; `run` gets the module and the member. Output `[P, K, ...]` flattened to rows.
    fn run<const D: usize>(
        &self,
        parameters: &Tensor<2>,
        copies: usize,
        leaf: impl Fn(Tensor<1>) -> Tensor<1>,
        run: impl Fn(&M, usize) -> Tensor<D>,
    ) -> Vec<Tensor<D>> {
        let population = parameters.dims()[0];
        let all = (0..population).flat_map(|member| (0..copies).map(move |copy| (member, copy)));
        all.map(|(member, copy)| run(&self.module(parameters, member, copy, &leaf), member)).collect()
    }

    /// [`Self::run`] of all copies, with every parameter a tracked leaf; the leaves are per member.
    fn run_recorded<const D: usize>(
        &self,
        parameters: &Tensor<2>,
        run: impl Fn(&M, usize) -> Tensor<D>,
    ) -> (Vec<Tensor<D>>, Vec<Vec<Tensor<1>>>) {
        let mut outputs = Vec::new();
        let mut leaves = Vec::new();
        for member in 0..parameters.dims()[0] {
            let mut own = Vec::with_capacity(self.layout.len());
            for copy in 0..self.ensemble {
                let module = self.module(parameters, member, copy, |leaf| {
                    let leaf = leaf.autodiff().require_grad();
                    own.push(leaf.clone());
                    leaf
                });
                outputs.push(run(&module, member));
            }
            leaves.push(own);
        }
        (outputs, leaves)
    }

    /// The gradient `[P, N]` of the leaves, for the gradient of the recorded output.
    fn gradient(tape: &ModuleTape, output: Tensor<3>) -> Tensor<2> {
        let mut gradients = (tape.output.clone() * output.autodiff()).sum().backward();
        let members = tape.leaves.iter().map(|leaves| {
            let pieces = leaves.iter().map(|leaf| {
                leaf.grad_remove(&mut gradients)
                    .unwrap_or_else(|| leaf.clone().without_autodiff().zeros_like())
            });
            Tensor::cat(pieces.collect(), 0).unsqueeze_dim(0)
        });
        Tensor::cat(members.collect(), 0)
    }
}

/// Rows `member` of a tensor whose leading axis of size 1 stands for every member.
fn of_member(tensor: &Tensor<3>, member: usize) -> Tensor<2> {
    let row = if tensor.dims()[0] == 1 { 0 } else { member };
    tensor.clone().narrow(0, row, 1).squeeze_dim(0)
}

impl<M: ActorModule> Network for ModuleActor<M> {
    type Tape = ModuleTape;

    fn layout(&self) -> &Layout {
        &self.copies.layout
    }

    fn init(&self, streams: &mut [RandomStream], options: &TensorCreationOptions) -> Result<Tensor<2>> {
        self.copies.init(streams, options)
    }
}

impl<M: ActorModule> Actor for ModuleActor<M> {
    fn observation_size(&self) -> usize {
        self.observation
    }

    fn output_size(&self) -> usize {
        self.output
    }

    fn forward(&self, parameters: &Tensor<2>, observation: Tensor<3>) -> Tensor<3> {
        let outputs = self.copies.run(
            parameters,
            1,
            |leaf| leaf,
            |module, p| module.forward(of_member(&observation, p)),
        );
        Tensor::stack(outputs, 0)
    }

    fn record(&self, parameters: &Tensor<2>, observation: Tensor<3>) -> (Tensor<3>, ModuleTape) {
        let observation = observation.autodiff();
        let (outputs, leaves) =
            self.copies.run_recorded(parameters, |module, p| module.forward(of_member(&observation, p)));
        let output = Tensor::stack(outputs, 0);
        (output.clone().without_autodiff(), ModuleTape { output, leaves, action: None })
    }

    fn gradient(&self, tape: ModuleTape, output: Tensor<3>) -> Tensor<2> {
        Copies::<M>::gradient(&tape, output)
    }
}

impl<M: CriticModule> Network for ModuleCritic<M> {
    type Tape = ModuleTape;

    fn layout(&self) -> &Layout {
        &self.copies.layout
    }

    fn init(&self, streams: &mut [RandomStream], options: &TensorCreationOptions) -> Result<Tensor<2>> {
        self.copies.init(streams, options)
    }
}

impl<M: CriticModule> Critic for ModuleCritic<M> {
    fn observation_size(&self) -> usize {
        self.observation
    }

    fn action_size(&self) -> usize {
        self.action
    }

    fn ensemble(&self) -> usize {
        self.copies.ensemble
    }

    fn forward(&self, parameters: &Tensor<2>, observation: Tensor<3>, action: Tensor<3>) -> Tensor<3> {
        let values = self.copies.run(
            parameters,
            self.copies.ensemble,
            |leaf| leaf,
            |module, p| module.forward(of_member(&observation, p), of_member(&action, p)),
        );
        stack(values, parameters)
    }

    fn record(
        &self,
        parameters: &Tensor<2>,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> (Tensor<3>, ModuleTape) {
        record(parameters, observation, action, |critic| self.copies.run_recorded(parameters, critic))
    }

    fn record_first(
        &self,
        parameters: &Tensor<2>,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> (Tensor<3>, ModuleTape) {
        record(parameters, observation, action, |critic| {
            (self.copies.run(parameters, 1, Tensor::autodiff, critic), Vec::new())
        })
    }

    fn gradient(&self, tape: ModuleTape, value: Tensor<3>) -> Tensor<2> {
        Copies::<M>::gradient(&tape, value)
    }

    fn action_gradient(&self, tape: ModuleTape, value: Tensor<3>) -> Tensor<3> {
        let gradients = (tape.output * value.autodiff()).sum().backward();
        let action = tape.action.expect("a critic's tape has the action that it was recorded with");
        action.grad(&gradients).unwrap_or_else(|| action.without_autodiff().zeros_like())
    }
}

/// What `run` makes of a critic that tracks the action, and the tape.
fn record<M: CriticModule>(
    parameters: &Tensor<2>,
    observation: Tensor<3>,
    action: Tensor<3>,
    run: impl FnOnce(&dyn Fn(&M, usize) -> Tensor<2>) -> (Vec<Tensor<2>>, Vec<Vec<Tensor<1>>>),
) -> (Tensor<3>, ModuleTape) {
    let observation = observation.autodiff();
    let action = action.autodiff().require_grad();
    let critic = |module: &M, member: usize| {
        module.forward(of_member(&observation, member), of_member(&action, member))
    };
    let (values, leaves) = run(&critic);
    let output = stack(values, parameters);
    (output.clone().without_autodiff(), ModuleTape { output, leaves, action: Some(action) })
}

/// Values `[B, 1]` of each member's critics, put together to `[P, K, B]`.
fn stack(values: Vec<Tensor<2>>, parameters: &Tensor<2>) -> Tensor<3> {
    let population = parameters.dims()[0];
    let (count, batch) = (values.len(), values[0].dims()[0]);
    Tensor::stack::<3>(values, 0).reshape([population, count / population, batch])
}

#[derive(Default)]
struct Shapes(Vec<Vec<usize>>);

impl ModuleVisitor for Shapes {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        self.0.push(parameter.val().dims().to_vec());
    }
}

#[derive(Default)]
struct Values(Vec<f32>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let data = parameter.val().without_autodiff().into_data().convert::<f32>();
        self.0.extend_from_slice(data.as_slice::<f32>().unwrap_or(&[]));
    }
}

struct Setter {
    values: std::vec::IntoIter<Tensor<1>>,
}

impl ModuleMapper for Setter {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = self.values.next().expect("the template's parameters are visited in one order");
        let (id, old, mapper) = parameter.consume();
        Param::from_mapped_value(id, value.reshape(old.dims()), mapper)
    }
}
