//! Every reader of archai as a function of bytes. The fuzzer (`scripts/fuzz.sh`) calls these functions with inputs of its
//! own, the tests of this crate with the inputs that are kept in `fuzz/corpus`, so that what was found once stays found.
//!
//! A reader may give a value or an error. A panic, a wait or a flood of memory is a finding; so is a value that does not
//! come back from its own written form.

mod data;
mod run;
mod text;

/// How much memory a reader may take for an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// At most so many bytes, whatever the input: configurations.
    Fixed(usize),
    /// At most `factor · length + 64 MiB`: files of data, which are held in memory.
    Factor(usize),
}

impl Memory {
    /// The bound for an input of `length` bytes.
    pub fn bound(self, length: usize) -> usize {
        match self {
            Memory::Fixed(bytes) => bytes,
            Memory::Factor(factor) => factor * length + (64 << 20),
        }
    }
}

/// A reader under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder of inputs.
    pub name: &'static str,
    /// Reads an input, and says whether it was taken for what the reader reads. Panics are findings.
    pub run: fn(&[u8]) -> bool,
    /// What it may take.
    pub memory: Memory,
}

const MIB: usize = 1 << 20;

/// All readers.
pub const TARGETS: [Target; 26] = [
    Target {
        name: "config",
        run: text::config,
        memory: Memory::Fixed(256 * MIB),
    },
    Target {
        name: "archai_config",
        run: text::archai_config,
        memory: Memory::Fixed(256 * MIB),
    },
    Target {
        name: "overrides",
        run: text::overrides,
        memory: Memory::Fixed(256 * MIB),
    },
    Target {
        name: "dataset",
        run: text::dataset,
        memory: Memory::Fixed(256 * MIB),
    },
    // Aliases multiply what a description holds, within the budget of the YAML reader.
    Target {
        name: "description",
        run: text::description,
        memory: Memory::Fixed(256 * MIB),
    },
    Target {
        name: "genotype",
        run: text::genotype,
        memory: Memory::Fixed(256 * MIB),
    },
    Target {
        name: "foreign",
        run: text::foreign,
        memory: Memory::Fixed(256 * MIB),
    },
    Target {
        name: "import",
        run: text::import,
        memory: Memory::Fixed(256 * MIB),
    },
    Target {
        name: "safetensors",
        run: run::safetensors,
        memory: Memory::Factor(4),
    },
    // Its description may take as much as any other.
    Target {
        name: "model_file",
        run: run::model_file,
        memory: Memory::Fixed(256 * MIB),
    },
    // A byte may be an empty list, and a number of 16 bits becomes one of 64.
    Target {
        name: "pt",
        run: run::pt,
        memory: Memory::Factor(256),
    },
    Target {
        name: "checkpoint",
        run: run::checkpoint,
        memory: Memory::Factor(64),
    },
    Target {
        name: "record",
        run: run::record,
        memory: Memory::Factor(64),
    },
    Target {
        name: "started",
        run: run::started,
        memory: Memory::Factor(64),
    },
    Target {
        name: "metrics",
        run: run::metrics,
        memory: Memory::Factor(64),
    },
    Target {
        name: "follower",
        run: run::follower,
        memory: Memory::Factor(64),
    },
    Target {
        name: "idx",
        run: data::idx,
        memory: Memory::Factor(64),
    },
    Target {
        name: "cifar",
        run: data::cifar,
        memory: Memory::Factor(64),
    },
    Target {
        name: "parquet",
        run: data::parquet,
        memory: Memory::Factor(64),
    },
    Target {
        name: "csv",
        run: data::csv,
        memory: Memory::Factor(1024),
    },
    Target {
        name: "webdataset",
        run: data::webdataset,
        memory: Memory::Factor(1024),
    },
    // Arrays are compressed; what they may become is bounded.
    Target {
        name: "npz",
        run: data::npz,
        memory: Memory::Factor(512),
    },
    Target {
        name: "mat",
        run: data::mat,
        memory: Memory::Factor(512),
    },
    Target {
        name: "pickle",
        run: data::pickle,
        memory: Memory::Factor(64),
    },
    Target {
        name: "image",
        run: data::image,
        memory: Memory::Factor(1024),
    },
    Target {
        name: "nasbench201",
        run: data::nasbench201,
        memory: Memory::Factor(64),
    },
];

/// The reader of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// What stands between the parts of an input that becomes several files.
pub const SEPARATOR: u8 = 0x1e;
