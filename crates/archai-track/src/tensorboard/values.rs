//! Values of event files: scalars, histograms, pictures, texts, and what the hparams plugin reads.

use prost::Message;
use serde_json::Value as Json;

use super::proto::{
    Dim, HParams, HParamsContent, Histogram, Image, Kind, Metadata, PluginData, SessionEnd,
    SessionStart, Setting, SettingKind, Shape, Status, Tensor, TensorType, Value,
};
use crate::facts::{Ending, RunFacts};

/// Buckets of a histogram between 0 and 1.
const BUCKETS: usize = 50;

fn value(tag: String, kind: Kind) -> Value {
    Value {
        tag,
        metadata: None,
        kind: Some(kind),
    }
}

/// A number; the format has 32 bits for it.
pub fn scalar(tag: String, number: f64) -> Value {
    value(tag, Kind::Scalar(number as f32))
}

/// A PNG picture.
pub fn picture(tag: String, width: u32, height: u32, png: Vec<u8>) -> Value {
    value(
        tag,
        Kind::Image(Image {
            height: i32::try_from(height).unwrap_or(i32::MAX),
            width: i32::try_from(width).unwrap_or(i32::MAX),
            colorspace: 3,
            encoded: png,
        }),
    )
}

/// How numbers between 0 and 1 are spread; those that are not finite are left out, and none gives nothing.
pub fn histogram(tag: String, numbers: &[f64]) -> Option<Value> {
    let numbers: Vec<f64> = numbers.iter().copied().filter(|n| n.is_finite()).collect();
    let bucket_of = |n: f64| ((n * BUCKETS as f64) as usize).min(BUCKETS - 1);
    let min = numbers.iter().copied().reduce(f64::min)?;
    let max = numbers.iter().copied().reduce(f64::max)?;
    // Readers take the least number as the lower end of the first bucket, and the greatest as the upper end of the last.
    let (first, last) = (bucket_of(min), bucket_of(max));
    let mut bucket = vec![0.0; last - first + 1];
    for &number in &numbers {
        if let Some(count) = bucket.get_mut(bucket_of(number) - first) {
            *count += 1.0;
        }
    }
    let limits = (first..=last).map(|i| (i + 1) as f64 / BUCKETS as f64);
    Some(value(
        tag,
        Kind::Histogram(Histogram {
            min,
            max,
            num: numbers.len() as f64,
            sum: numbers.iter().sum(),
            sum_squares: numbers.iter().map(|n| n * n).sum(),
            bucket_limit: limits.collect(),
            bucket,
        }),
    ))
}

/// A text, which is shown as Markdown.
pub fn text(tag: &str, text: &str) -> Value {
    Value {
        tag: tag.to_string(),
        metadata: Some(of_plugin("text", Vec::new())),
        kind: Some(Kind::Tensor(Tensor {
            dtype: TensorType::String.into(),
            shape: Some(one()),
            float_val: Vec::new(),
            string_val: vec![text.as_bytes().to_vec()],
        })),
    }
}

/// The settings of a run, for the table of runs.
pub fn session_start(run: &RunFacts, time: f64) -> Value {
    let mut hparams: std::collections::BTreeMap<String, Setting> = run
        .settings()
        .map(|(name, value)| (name.to_string(), setting(value)))
        .collect();
    let started = &run.started;
    for (name, text) in [
        ("algorithm", &started.algorithm),
        ("device", &started.device),
        ("engine", &started.engine),
    ] {
        hparams.insert(name.to_string(), setting(&Json::from(text.as_str())));
    }
    let start = SessionStart {
        hparams,
        group_name: run.name(),
        start_time_secs: time,
    };
    of_hparams("_hparams_/session_start_info", HParamsContent::Start(start))
}

/// How a run ended, for the table of runs.
pub fn session_end(ending: Ending, time: f64) -> Value {
    let status = match ending {
        Ending::Complete => Status::Success,
        Ending::Stopped => Status::Unknown,
        Ending::Failed => Status::Failure,
    };
    let end = SessionEnd {
        status: status.into(),
        end_time_secs: time,
    };
    of_hparams("_hparams_/session_end_info", HParamsContent::End(end))
}

fn of_hparams(tag: &str, content: HParamsContent) -> Value {
    let data = HParams {
        version: 0,
        content: Some(content),
    };
    Value {
        tag: tag.to_string(),
        metadata: Some(of_plugin("hparams", data.encode_to_vec())),
        // The plugin reads its metadata alone, and TensorBoard drops values that hold nothing.
        kind: Some(Kind::Tensor(Tensor {
            dtype: TensorType::Float.into(),
            shape: Some(one()),
            float_val: vec![0.0],
            string_val: Vec::new(),
        })),
    }
}

fn of_plugin(name: &str, content: Vec<u8>) -> Metadata {
    Metadata {
        plugin_data: Some(PluginData {
            plugin_name: name.to_string(),
            content,
        }),
    }
}

/// The shape of one element.
fn one() -> Shape {
    Shape {
        dim: vec![Dim { size: 1 }],
    }
}

fn setting(value: &Json) -> Setting {
    let kind = match value {
        Json::Bool(is) => SettingKind::Bool(*is),
        Json::Number(number) => SettingKind::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => SettingKind::Text(text.clone()),
        other => SettingKind::Text(other.to_string()),
    };
    Setting { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_count_every_number_once() {
        for numbers in [
            vec![0.0, 0.5, 0.5, 1.0],
            vec![0.125; 8],
            vec![1.0],
            vec![0.019, 0.021],
        ] {
            let value = histogram("x".into(), &numbers).unwrap();
            let Some(Kind::Histogram(found)) = value.kind else {
                panic!("{value:?}");
            };
            assert_eq!(found.bucket.iter().sum::<f64>(), numbers.len() as f64);
            assert_eq!(found.bucket.len(), found.bucket_limit.len());
            assert!(found.bucket_limit.is_sorted());
            assert!(found.min <= found.bucket_limit[0]);
            assert!(found.max <= found.bucket_limit[found.bucket.len() - 1]);
        }
        assert_eq!(histogram("x".into(), &[]), None);
        assert_eq!(histogram("x".into(), &[f64::NAN]), None);
    }
}
