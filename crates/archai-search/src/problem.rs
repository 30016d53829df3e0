//! What is searched: a space with what follows from its descriptions, quantities, objectives, limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use archai_spec::desc::OpCatalog;
use archai_spec::names::unknown;
use indexmap::IndexSet;

use crate::evaluator::Evaluator;
use crate::quantity::{CostClass, Direction, Limit, Quantity, Values};
use crate::settings::Settings;
use crate::space::{Member, SearchSpace, SpaceError};
use crate::study::StudyError;
use crate::surrogate::Pool;

/// The static quantity that every space has: learnt numbers.
pub const PARAMS: &str = "params";
/// The static quantity that every space has: multiply-adds for one example.
pub const MACS: &str = "macs";
/// Bytes of the learnt numbers in 32 bits.
pub const MODEL_SIZE: &str = "model_size";
/// Bytes of activations for one example at inference, at most at one time, in 32 bits.
pub const ACTIVATION_MEMORY: &str = "activation_memory";

/// The static quantities that every space has.
pub fn own_quantities() -> [Quantity; 4] {
    let of = |name: &str, unit: &str| {
        Quantity::new(name, Direction::Minimise)
            .unit(unit)
            .class(CostClass::Static)
    };
    [
        of(PARAMS, ""),
        of(MACS, ""),
        of(MODEL_SIZE, "byte"),
        of(ACTIVATION_MEMORY, "byte"),
    ]
}

/// Most members of which a catalogue remembers what follows from their descriptions.
const MAX_KNOWN: usize = 100_000;

/// What a surrogate sees, in short.
#[derive(Debug)]
pub(crate) struct Sight {
    pub choices: Vec<f32>,
    /// The number of a path in the catalogue's list, and how often it occurs.
    pub paths: Vec<(u32, u32)>,
}

/// What follows from the description of a member.
#[derive(Debug)]
pub struct Known {
    /// Its readable id.
    pub id: String,
    /// What tells it from other networks and their settings, in hexadecimal.
    pub hash: String,
    /// Its static quantities.
    pub statics: Values,
    sight: OnceLock<Arc<Sight>>,
}

/// A space, and a memory of what follows from its members' descriptions. Several searches of one space may share it.
pub struct Catalogue {
    space: Arc<dyn SearchSpace>,
    evaluators: Vec<Arc<dyn Evaluator>>,
    ops: OpCatalog,
    /// Whether the memory of activations is wanted: it takes longer than all the rest.
    memory: bool,
    known: Mutex<HashMap<Member, Arc<Known>>>,
    paths: Mutex<IndexSet<String>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is remembered is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Catalogue {
    /// A space, and evaluators that may know static quantities. `memory` says whether the memory of activations is one.
    pub fn new(
        space: Arc<dyn SearchSpace>,
        evaluators: impl IntoIterator<Item = Arc<dyn Evaluator>>,
        memory: bool,
    ) -> Self {
        Catalogue {
            space,
            evaluators: evaluators.into_iter().collect(),
            ops: OpCatalog::builtin(),
            memory,
            known: Mutex::new(HashMap::new()),
            paths: Mutex::new(IndexSet::new()),
        }
    }

    /// The space.
    pub fn space(&self) -> &dyn SearchSpace {
        &*self.space
    }

    /// What follows from a member's description.
    ///
    /// # Errors
    /// It is no member of the space, or an evaluator cannot say its static quantities.
    pub fn know(&self, member: &Member) -> Result<Arc<Known>, SpaceError> {
        if let Some(known) = lock(&self.known).get(member) {
            return Ok(known.clone());
        }
        let known = Arc::new(self.find_out(member)?);
        let mut all = lock(&self.known);
        if all.len() >= MAX_KNOWN {
            all.clear();
        }
        all.insert(member.clone(), known.clone());
        Ok(known)
    }

    fn find_out(&self, member: &Member) -> Result<Known, SpaceError> {
        let cost = self.space.costs(member)?;
        let mut statics = Values::new();
        statics.insert(PARAMS.into(), cost.params as f64);
        statics.insert(MACS.into(), cost.macs as f64);
        statics.insert(MODEL_SIZE.into(), 4.0 * cost.params as f64);
        if self.memory {
            let desc = self.space.describe(member)?;
            let graph = desc
                .lower(&self.ops)
                .map_err(|e| SpaceError::new(e.to_string()))?;
            statics.insert(ACTIVATION_MEMORY.into(), graph.memory(4).peak as f64);
        }
        for evaluator in &self.evaluators {
            let more = evaluator.statics(&*self.space, member);
            let more = more.map_err(|e| SpaceError::new(e.message))?;
            statics.extend(more.into_iter().filter(|(_, value)| value.is_finite()));
        }
        let network = self.space.network_hash(member)?;
        let recipe = self.space.recipe(member)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&network);
        for (key, value) in &recipe {
            // Debug texts of numbers and strings are unambiguous.
            hasher.update(format!("{key:?}={value:?};").as_bytes());
        }
        let hash = match recipe.is_empty() {
            true => blake3::Hash::from_bytes(network),
            false => hasher.finalize(),
        };
        Ok(Known {
            id: self.space.id(member),
            hash: hash.to_hex()[..32].to_string(),
            statics,
            sight: OnceLock::new(),
        })
    }

    pub(crate) fn sight(&self, member: &Member, known: &Known) -> Result<Arc<Sight>, SpaceError> {
        if let Some(sight) = known.sight.get() {
            return Ok(sight.clone());
        }
        let features = self.space.features(member)?;
        let mut paths = lock(&self.paths);
        let numbered = features.paths.into_iter().map(|(path, n)| {
            let (number, _) = paths.insert_full(path);
            (number as u32, n)
        });
        let sight = Arc::new(Sight {
            choices: features.choices,
            paths: numbered.collect(),
        });
        drop(paths);
        Ok(known.sight.get_or_init(|| sight).clone())
    }

    /// Puts numbers of paths into the order of their names: the numbers themselves are in the order in which paths were met,
    /// which depends on who asked first.
    pub(crate) fn sort_paths(&self, numbers: &mut [u32]) {
        let paths = lock(&self.paths);
        numbers.sort_by(|a, b| {
            paths
                .get_index(*a as usize)
                .cmp(&paths.get_index(*b as usize))
        });
    }
}

/// A search as it was set up.
pub struct Problem {
    /// The space.
    pub catalogue: Arc<Catalogue>,
    /// What proposals depend on.
    pub settings: Settings,
    pub(crate) objectives: Vec<Quantity>,
    pub(crate) static_limits: Vec<Limit>,
    pub(crate) other_limits: Vec<(Limit, CostClass)>,
    /// The newest pools of candidates by their numbers.
    pub(crate) pools: Mutex<Vec<(usize, Arc<Pool>)>>,
}

impl Problem {
    /// Checks the settings; `settings.quantities` are all that are known.
    ///
    /// # Errors
    /// An unknown quantity, no objective, one named twice, limits that contradict each other, rungs that do not rise.
    pub fn new(catalogue: Arc<Catalogue>, settings: Settings) -> Result<Self, StudyError> {
        let find = |name: &str| {
            let mut all = settings.quantities.iter();
            all.find(|quantity| quantity.name == name).ok_or_else(|| {
                let names = settings.quantities.iter().map(|q| q.name.as_str());
                StudyError::Settings(unknown("quantity", name, names).to_string())
            })
        };
        for (i, quantity) in settings.quantities.iter().enumerate() {
            if settings.quantities[..i]
                .iter()
                .any(|other| other.name == quantity.name)
            {
                return Err(StudyError::Settings(format!(
                    "two evaluators find out `{}`; give one of the quantities another name",
                    quantity.name
                )));
            }
        }
        if settings.objectives.is_empty() {
            return Err(StudyError::Settings(
                "nothing is to be made better; name at least one objective".into(),
            ));
        }
        let mut objectives: Vec<Quantity> = Vec::new();
        for name in &settings.objectives {
            if objectives.iter().any(|other| other.name == *name) {
                return Err(StudyError::Settings(format!(
                    "the objective `{name}` is named twice; name it once"
                )));
            }
            objectives.push(find(name)?.clone());
        }
        let (mut static_limits, mut other_limits) = (Vec::new(), Vec::new());
        for limit in &settings.limits {
            match find(&limit.quantity)?.class {
                CostClass::Static => static_limits.push(limit.clone()),
                class => other_limits.push((limit.clone(), class)),
            }
        }
        for name in &settings.prior {
            if find(name)?.class != CostClass::Static {
                return Err(StudyError::Settings(format!(
                    "the prior `{name}` is not known before a trial; name static quantities"
                )));
            }
        }
        if settings.rungs.first() == Some(&0) || !settings.rungs.is_sorted_by(|a, b| a < b) {
            return Err(StudyError::Settings(format!(
                "the rungs {:?} do not rise from one epoch or more; expected numbers of epochs such as 10, 30, 90",
                settings.rungs
            )));
        }
        Ok(Problem {
            catalogue,
            settings,
            objectives,
            static_limits,
            other_limits,
            pools: Mutex::new(Vec::new()),
        })
    }

    /// The space.
    pub fn space(&self) -> &dyn SearchSpace {
        self.catalogue.space()
    }

    /// The quantities to make as good as possible.
    pub fn objectives(&self) -> &[Quantity] {
        &self.objectives
    }

    /// The epochs of a whole training; 1 where there are no rungs.
    pub fn last_rung(&self) -> u32 {
        self.settings.rungs.last().copied().unwrap_or(1)
    }

    /// Whether the static quantities are within their limits. One that is unknown is not.
    pub fn admits(&self, statics: &Values) -> bool {
        let within = |limit: &Limit| {
            let value = statics.get(&limit.quantity);
            value.is_some_and(|value| limit.admits(*value))
        };
        self.static_limits.iter().all(within)
    }

    /// The first static limit that a network is beyond, and its value if that is known.
    pub(crate) fn broken_static(&self, statics: &Values) -> Option<(&Limit, Option<f64>)> {
        let mut limits = self.static_limits.iter();
        limits.find_map(|limit| {
            let value = statics.get(&limit.quantity).copied();
            let admits = value.is_some_and(|value| limit.admits(value));
            (!admits).then_some((limit, value))
        })
    }

    /// How far static quantities are beyond their limits, summed; 0 within.
    pub(crate) fn excess(&self, statics: &Values) -> f64 {
        let of = |limit: &Limit| match statics.get(&limit.quantity) {
            Some(value) => limit.excess(*value),
            None => f64::INFINITY,
        };
        self.static_limits.iter().map(of).sum()
    }

    /// The first limit on what is not static that values are beyond. Of a quantity that is not among them nothing is said.
    pub(crate) fn broken(&self, values: &Values, classes: &[CostClass]) -> Option<&Limit> {
        let mut limits = self.other_limits.iter();
        let broken = limits.find(|(limit, class)| {
            let value = values.get(&limit.quantity);
            classes.contains(class) && value.is_some_and(|value| !limit.admits(*value))
        });
        broken.map(|(limit, _)| limit)
    }
}
