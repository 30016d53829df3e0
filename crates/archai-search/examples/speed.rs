//! How fast a search proposes: random and guided proposals in a second after a number of trials, and the time of a front.
//!
//! ```text
//! cargo run --release -p archai-search --example speed -- [--trials 1000] [--only guided]
//! ```
//!
//! One thread, without what evaluates: trials cost nothing here. Figures of this kind hold for one machine; `docs/search.md`
//! has some.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use archai_search::cells::Cells201;
use archai_search::journal::MemoryStore;
use archai_search::optimisers::{self, OptimiserKind};
use archai_search::space::{SearchSpace, shipped};
use archai_search::{
    Direction, Exhausted, Optimiser, Proposal, Quantity, Run, Settings, Setup, Stop, Study, Values,
    View, from_fn, front,
};
use archai_spec::registry::{Named, Registry};
use archai_spec::rng::Key;
use serde_json::{Map, Value};

/// Proposals that are timed.
const TIMED: usize = 100;

/// How many proposals took how long.
type Spent = Arc<Mutex<(usize, Duration)>>;

/// An optimiser whose proposals are timed from a number of trials on.
struct Timed {
    inner: Arc<dyn Optimiser>,
    after: usize,
    spent: Spent,
}

impl Optimiser for Timed {
    fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
        let begin = Instant::now();
        let proposal = self.inner.ask(view, key);
        if view.trials().len() >= self.after {
            let spent = self.spent.lock();
            let mut spent = spent.map_err(|e| Exhausted::Space(e.to_string()))?;
            *spent = (spent.0 + 1, spent.1 + begin.elapsed());
        }
        proposal
    }
}

/// The kind of such optimisers.
struct Watched {
    kind: Arc<dyn OptimiserKind>,
    after: usize,
    spent: Spent,
}

impl Named for Watched {
    fn name(&self) -> &str {
        "timed"
    }
    fn about(&self) -> &str {
        self.kind.about()
    }
}

impl OptimiserKind for Watched {
    fn make(&self, settings: &Map<String, Value>) -> Result<Arc<dyn Optimiser>, String> {
        Ok(Arc::new(Timed {
            inner: self.kind.make(settings)?,
            after: self.after,
            spent: self.spent.clone(),
        }))
    }
    fn defaults(&self) -> Value {
        self.kind.defaults()
    }
}

/// Proposals in a second after so many trials.
fn speed(space: &Arc<dyn SearchSpace>, name: &str, trials: usize) -> Result<f64, Box<dyn Error>> {
    let spent = Spent::default();
    let all = optimisers::all();
    let watched: Arc<dyn OptimiserKind> = Arc::new(Watched {
        kind: all.get(name)?.clone(),
        after: trials,
        spent: spent.clone(),
    });
    let kinds: Registry<dyn OptimiserKind> = Registry::new("optimiser").with(watched);
    // Something that depends on all choices.
    let quantity = Quantity::new("good", Direction::Maximise);
    let planted = from_fn([quantity], |job, _| {
        let mut rng = Key::new(7).rng();
        let parts = job.member.choices.iter().map(|choice| {
            let weights: Vec<f64> = (0..8).map(|_| rng.uniform_f64()).collect();
            choice.map_or(0.0, |choice| weights[usize::from(choice) % 8])
        });
        Ok(Values::from([("good".into(), parts.sum())]))
    });
    let mut settings = Settings::new(["good"]);
    settings.optimiser.name = "timed".into();
    let mut study = Study::open(Setup {
        space: space.clone(),
        evaluators: vec![Arc::new(planted)],
        settings,
        optimisers: &kinds,
        store: Box::new(MemoryStore::default()),
        folder: None,
    })?;
    study.run(Run {
        workers: 1,
        budget: Some(trials + TIMED),
        stop: &Stop::new(),
        clock: &|| 0.0,
    })?;
    let (n, time) = *spent.lock().map_err(|e| e.to_string())?;
    Ok(n as f64 / time.as_secs_f64())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let trials: usize = value("--trials").map_or(Ok(1_000), |text| text.parse())?;
    let spaces: [(&str, Arc<dyn SearchSpace>); 2] = [
        ("cells of NAS-Bench-201", Arc::new(Cells201::new())),
        ("resnet", Arc::new(shipped("resnet")?)),
    ];
    for (name, space) in spaces {
        println!("{name}, after {trials} trials:");
        for optimiser in ["random", "guided"] {
            if value("--only").is_some_and(|only| only != optimiser) {
                continue;
            }
            println!(
                "  {optimiser:8} {:>10.1} proposals a second",
                speed(&space, optimiser, trials)?
            );
        }
    }
    let mut rng = Key::new(1).rng();
    let points: Vec<[f64; 2]> = (0..10_000)
        .map(|_| [rng.uniform_f64(), rng.uniform_f64()])
        .collect();
    let points: Vec<&[f64]> = points.iter().map(<[f64; 2]>::as_slice).collect();
    let begin = Instant::now();
    let kept = front::non_dominated(&points).len();
    println!(
        "front of 10000 points ({kept} kept): {:.2} ms",
        1e3 * begin.elapsed().as_secs_f64()
    );
    Ok(())
}
