//! Policies as ONNX models: the few messages of the format that a network needs.
//!
//! The field numbers are those of `onnx.proto` (ONNX 1.12, IR version 8), <https://github.com/onnx/onnx>.

use std::path::Path;

use prost::Message;

use super::export::DESCRIPTION;
use super::{Normalisation, PolicyKind, PolicyParameters};
use crate::TrainError;
use crate::files::write_atomically;

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// The element type of all tensors.
const FLOAT: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<DimensionProto>,
}

/// One of the two is set, so that either is a `oneof` on the wire.
#[derive(Clone, PartialEq, Message)]
struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

impl PolicyParameters {
    /// Writes the deterministic policy as an ONNX model (IR version 8, operator set 17): from `observation`
    /// `[batch, O]` to `action` `[batch, A]` in the environment's units, both float32, for any batch. Input
    /// normalisation is part of it. The description of [`write_safetensors`](Self::write_safetensors) is in its
    /// metadata.
    ///
    /// # Errors
    /// If the parameters do not fit together, or the file system refuses.
    pub fn write_onnx(&self, path: impl AsRef<Path>) -> Result<(), TrainError> {
        self.validate()?;
        write_atomically(path.as_ref(), &self.onnx().encode_to_vec())
    }

    fn onnx(&self) -> ModelProto {
        let mut graph = Graph {
            proto: GraphProto { name: "policy".into(), ..GraphProto::default() },
            signal: OBSERVATION.into(),
        };
        if let Some(Normalisation { mean, deviation, clip }) = &self.normalisation {
            graph.constant("mean", &[mean.len()], mean);
            graph.then("Sub", "centred", &["mean"]);
            graph.constant("deviation", &[deviation.len()], deviation);
            graph.then("Div", "normalised", &["deviation"]);
            if let Some(clip) = *clip {
                graph.constant("clip_low", &[], &[-clip]);
                graph.constant("clip_high", &[], &[clip]);
                graph.then("Clip", "clipped", &["clip_low", "clip_high"]);
            }
        }
        let last = self.sizes.len().saturating_sub(2);
        for (index, layer) in self.layers().enumerate() {
            // Of a Gaussian the means are enough.
            let outputs = match self.kind {
                PolicyKind::Gaussian if index == last => layer.output / 2,
                _ => layer.output,
            };
            let rows = layer.weight.chunks_exact(layer.output);
            let weight: Vec<f32> = rows.flat_map(|row| &row[..outputs]).copied().collect();
            let [weights, biases] = [format!("{index}.weight"), format!("{index}.bias")];
            graph.constant(&weights, &[layer.input, outputs], &weight);
            graph.constant(&biases, &[outputs], &layer.bias[..outputs]);
            graph.then("Gemm", &format!("linear_{index}"), &[&weights, &biases]);
            if index < last {
                graph.then("Relu", &format!("hidden_{index}"), &[]);
            }
        }
        graph.then("Tanh", "canonical_action", &[]);
        let bounds = self.action_low.iter().zip(&self.action_high);
        let (scale, bias): (Vec<f32>, Vec<f32>) = bounds
            .map(|(&low, &high)| (f64::from(low), f64::from(high)))
            .map(|(low, high)| ((0.5 * (high - low)) as f32, (0.5 * (high + low)) as f32))
            .unzip();
        graph.constant("action_scale", &[scale.len()], &scale);
        graph.then("Mul", "scaled_action", &["action_scale"]);
        graph.constant("action_bias", &[bias.len()], &bias);
        graph.then("Add", ACTION, &["action_bias"]);

        let mut proto = graph.proto;
        proto.input.push(value(OBSERVATION, self.observation_size()));
        proto.output.push(value(ACTION, self.action_size()));
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "ingle".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(proto),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            metadata_props: vec![StringStringEntryProto {
                key: DESCRIPTION.into(),
                value: self.description(),
            }],
        }
    }
}

const OBSERVATION: &str = "observation";
const ACTION: &str = "action";

/// A graph that is a chain: each node works on what the one before made.
struct Graph {
    proto: GraphProto,
    signal: String,
}

impl Graph {
    fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.proto.initializer.push(TensorProto {
            dims: shape.iter().copied().map(dimension).collect(),
            data_type: FLOAT,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
    }

    /// A node on the signal and constants, whose output is the signal from here on.
    fn then(&mut self, operator: &str, output: &str, constants: &[&str]) {
        let signal = std::mem::replace(&mut self.signal, output.to_owned());
        self.proto.node.push(NodeProto {
            input: [signal].into_iter().chain(constants.iter().map(ToString::to_string)).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: operator.to_owned(),
        });
    }
}

/// No policy has a size beyond this.
fn dimension(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A tensor `[batch, size]` of any batch.
fn value(name: &str, size: usize) -> ValueInfoProto {
    let batch = DimensionProto { dim_value: None, dim_param: Some("batch".into()) };
    let size = DimensionProto { dim_value: Some(dimension(size)), dim_param: None };
    let shape = TensorShapeProto { dim: vec![batch, size] };
    let tensor_type = TensorTypeProto { elem_type: FLOAT, shape: Some(shape) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
