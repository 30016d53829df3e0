//! Devices are opened by name, of a list that a program may add to.

use std::sync::Arc;

use archai_engine::device::{self, DeviceInfo, DeviceKind};
use archai_engine::{Compute, Engine, EngineError, Precision};
use archai_spec::registry::Named;

/// Three processors that compute with the framework's operations.
struct Three;

impl Named for Three {
    fn name(&self) -> &str {
        "three"
    }
    fn about(&self) -> &str {
        "three processors"
    }
}

impl DeviceKind for Three {
    fn open(&self, index: Option<usize>, _: Engine) -> Result<Compute, EngineError> {
        match index.unwrap_or(0) {
            0..3 => Ok(Compute::cpu().with_plain_ops()),
            n => Err(EngineError::setting("device", format!("no `three:{n}`"))),
        }
    }
    fn available(&self) -> Vec<DeviceInfo> {
        let info = |n| DeviceInfo {
            name: format!("three:{n}"),
            about: format!("processor {n}"),
        };
        (0..3).map(info).collect()
    }
}

#[test]
fn a_device_is_opened_by_its_name() {
    let devices = device::builtin().with(Arc::new(Three));
    for (name, engine, expect) in [
        ("cpu", Engine::Fused, Engine::Fused),
        ("cpu:0", Engine::Plain, Engine::Plain),
        ("three:2", Engine::Fused, Engine::Plain),
    ] {
        let compute = device::open(&devices, name, engine).expect("a device");
        assert_eq!(compute.engine(), expect, "{name}");
        assert_eq!(compute.precision(), Precision::F32, "{name}");
    }
    for (name, expect) in [
        (
            "cpu:1",
            "device: there is no `cpu:1`; there is one, which is called `cpu`",
        ),
        ("three:3", "device: no `three:3`"),
        (
            "gpu",
            "device: there is no device `gpu`; did you mean `cpu`? known are cpu, three",
        ),
        (
            "cpu:first",
            "device: `cpu:first` has no number behind the colon; expected `cpu` or `cpu:0`",
        ),
    ] {
        let error = device::open(&devices, name, Engine::Fused).expect_err("there is none");
        assert_eq!(error.to_string(), expect);
    }
    let names: Vec<String> = devices
        .iter()
        .flat_map(|kind| kind.available())
        .map(|info| info.name)
        .collect();
    assert_eq!(names, ["cpu", "three:0", "three:1", "three:2"]);
}
