//! The command line as types; help texts come from here alone.

use std::path::PathBuf;

use archai_algos::BASE_ALGORITHM;
use archai_engine::Engine;
use archai_engine::device::USUAL_DEVICE;
use archai_lab::RunMode;
use archai_lab::runs::RunState;
use archai_spec::settings::ExportInput;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

const EXAMPLES: &str = "\
First steps:
  archai run --algos darts          search and evaluate, small, no download
  archai data get cifar10           fetch a real data set
  archai run --algos darts --full   the real thing
  archai config show darts          every setting, with its value

Exit status:
  0    all well
  1    something failed on the way
  2    what was asked for cannot be done: the command line, a configuration, or
       a file or folder that they name is missing or cannot be used
  130  interrupted";

/// Neural architecture search: from the first search to the trained network
///
/// A search trains a network that holds all candidate operations at once and keeps the strongest. The found network is
/// then scaled up, trained from scratch, tested and saved for PyTorch and other programs.
#[derive(Debug, Parser)]
#[command(
    name = "archai",
    version,
    after_help = EXAMPLES,
    arg_required_else_help = true,
    subcommand_required = true,
    infer_long_args = false,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Search for a network, then train, test and save it
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Train, test and save a network as its description says
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(TrainArgs),
    /// List the runs in a folder, or remove some
    #[command(
        after_help = RUNS_EXAMPLES,
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true
    )]
    Runs(RunsArgs),
    /// How far the runs in a folder are: state, epoch, accuracy, time left
    ///
    /// The same runs as `archai runs` lists, which says what they take and removes some. The time left is that of the training
    /// that is under way, at the pace that it has had so far. Runs are looked at, never touched.
    #[command(after_help = STATUS_EXAMPLES)]
    Status(WhichRuns),
    /// Show runs in a browser while they go on
    ///
    /// Whoever knows the address that is printed sees the runs and may stop them; nothing else is changed. Ctrl-C ends it.
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// Resume a run that was interrupted
    #[command(
        after_help = "The command that made DIR is given again, with all that it was about, in the folder where it was\n\
            given; giving it yourself does the same.\n\n\
            Example:\n  archai resume ~/logdir/darts_cifar10_first_search"
    )]
    Resume(ResumeArgs),
    /// Give the figures of runs to TensorBoard or MLflow afterwards
    ///
    /// What is there already is not given twice, so that this completes what a run could not send while a server was down.
    #[command(after_help = TRACK_EXAMPLES)]
    Track(TrackArgs),
    /// Do a finished run again and compare what comes out, byte by byte; of a discrete search, replay its journal
    #[command(
        after_help = "The repetition takes its settings from DIR alone, so a run that somebody published can be checked, too. It is\n\
            done in a folder that goes away. Settings that change no result may be given, such as where data lie:\n  \
            archai verify downloaded/darts_cifar10_first_eval --dataset.path ~/cifar10\n\n\
            Examples:\n  archai verify ~/logdir/darts_fashion_mnist_mini_throwaway_search\n  \
            archai verify --threads 1 ~/logdir/*_first_*\n  archai verify ~/logdir/resnet_fashion_mnist_mini_trials"
    )]
    Verify {
        /// Run directories: NAME_search or NAME_eval; folders of discrete searches
        #[arg(required = true, value_hint = ValueHint::DirPath)]
        dirs: Vec<PathBuf>,
        /// Threads.
        #[command(flatten)]
        threads: ThreadsArgs,
    },
    /// Write a trained network for other programs: ONNX, PyTorch, Rust, safetensors
    ///
    /// All files are written, or none. What is there already is replaced only if it is the same, or with --replace.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Say what pictures show, in the eyes of a trained network
    #[command(after_help = PREDICT_EXAMPLES)]
    Predict(PredictArgs),
    /// Measure how often a trained network is right, and how fast it is
    #[command(after_help = EVALUATE_EXAMPLES)]
    Evaluate(EvaluateArgs),
    /// Score networks without training: zero-cost proxies
    ///
    /// Scores of a network with starting weights, computed from its description, one batch of images or two. docs/proxies.md has
    /// their formulas, and how well they go with accuracies.
    #[command(after_help = PROXIES_EXAMPLES)]
    Proxies(ProxiesArgs),
    /// Measure how long networks take, or make a table of what the layers of a space take
    #[command(subcommand, arg_required_else_help = true)]
    Latency(LatencyCommand),
    /// List the search algorithms
    #[command(after_help = "Example:\n  archai algos --json")]
    Algos(ListArgs),
    /// List the operations that networks are made of
    #[command(after_help = "Example:\n  archai ops --json")]
    Ops(ListArgs),
    /// List the search spaces (--space)
    #[command(after_help = "Example:\n  archai spaces --json")]
    Spaces(ListArgs),
    /// List the ways to read a found network off a supernet (nas.search.finalizer)
    #[command(after_help = "Example:\n  archai finalizers --json")]
    Finalizers(ListArgs),
    /// List the formats in which a trained model can be left (nas.eval.export)
    #[command(after_help = "Example:\n  archai exporters --json")]
    Exporters(ListArgs),
    /// List the devices that can be computed on here (--device)
    #[command(after_help = "Example:\n  archai devices --json")]
    Devices(ListArgs),
    /// List the data sets that the program knows
    #[command(
        after_help = "Example:\n  archai datasets\n\nA data set of your own is a YAML file: archai run --datasets my_data.yaml"
    )]
    Datasets(ListArgs),
    /// List the formats that data sets may have
    #[command(after_help = "Example:\n  archai formats --json")]
    Formats(ListArgs),
    /// List the transforms that images may go through
    #[command(after_help = "Example:\n  archai transforms --json")]
    Transforms(ListArgs),
    /// Show configurations
    #[command(subcommand, arg_required_else_help = true)]
    Config(ConfigCommand),
    /// Show, check, draw, scale and convert model descriptions
    #[command(subcommand, arg_required_else_help = true)]
    Desc(DescCommand),
    /// Check, count, sample and draw spaces of discrete search
    ///
    /// A space is a YAML file in the language of docs/search_spaces.md, or one that comes with the program. It is not one of
    /// `archai spaces`, which are spaces of supernets.
    #[command(subcommand, arg_required_else_help = true)]
    Space(SpaceCommand),
    /// Search a space for networks that are good in several respects and within hard limits
    ///
    /// A discrete search trains whole networks of a space, one trial each, and learns from each which to try next. What it
    /// knows is a journal in its folder: a search that was stopped or killed goes on with the command that began it.
    #[command(subcommand, arg_required_else_help = true)]
    Search(SearchCommand),
    /// Make a model file of weights that another program trained
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Fetch data sets
    #[command(subcommand, arg_required_else_help = true)]
    Data(DataCommand),
    /// Measure how fast this machine searches and evaluates
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
    /// Look up what a NAS-Bench-201 cell truly reaches
    #[command(after_help = TABLE_EXAMPLES)]
    Table(TableArgs),
    /// Put the results of many runs together
    #[command(subcommand, arg_required_else_help = true)]
    Report(ReportCommand),
    /// Print a script that completes commands in a shell
    #[command(
        after_help = "Example:\n  archai completions bash > ~/.local/share/bash-completion/completions/archai"
    )]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands to a folder
    #[command(
        after_help = "Examples:\n  archai man | man -l -\n  archai man ~/.local/share/man/man1"
    )]
    Man {
        /// Folder for the pages of all commands.
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

const SEARCH_EXAMPLES: &str = "\
All is checked before the first training. Ctrl-C stops; the same command goes on. Settings of the training are changed by
their dotted names, as those of `archai run`.

Examples:
  archai search run resnet --limit 'params<=50k' --budget 20
  archai search run mine.yaml --objectives accuracy,macs --limit 'params<=200k' --limit 'macs<=10M' --workers 2
  archai search run mine.yaml --datasets cifar10 --full --optimiser halving --rungs 3,9,27
  archai search run nb201 --table nb201.csv.gz --objectives max:c10_val_12ep,min:latency --known latency
  archai search run mine.yaml --command 'python train.py' --objectives max:accuracy,params";

const RUN_EXAMPLES: &str = "\
Any setting can be changed by its dotted name, anywhere on the line:
  --nas.eval.trainer.epochs 200
  --nas.eval.trainer.epochs=200
  nas.eval.trainer.epochs=200
`archai config show darts` prints all names.

Examples:
  archai run                                   DARTS, small, on embedded data
  archai run --algos darts --full              DARTS on CIFAR-10, as published
  archai run --datasets mine.yaml --full       on a data set of your own
  archai run --full --nas.search.darts.second_order false --exp-prefix first
  archai run --full --dry-run                  what it would take; does nothing
  archai run --no-eval                         search only
  archai run --no-search                       evaluate what was found last
  archai run --no-search --nas.eval.final_desc_filename found.yaml
  archai run --config mine.yaml                your file over the defaults
  archai run --algos darts,random --seeds 1,2,3   six runs, for `report collate`
  archai run --algos darts,random --space nasbench201 --table nb201.csv.gz
  archai run --algos manual nas.search.manual.model=resnet56

A run leaves two folders below the log folder, NAME_search and NAME_eval; NAME
is made of algorithm, space, data set and prefix. The files to look at first:
  summary.md             what was found, in words and figures
  final_model_desc.yaml  the found network
  model.pt               the trained network (in NAME_eval)
  log.log                what happened
  run.json, result.json  how a phase was started, what it came to: for programs
  checkpoints/           where an interrupted phase goes on; not needed later
docs/run_directory.md explains every file. `archai runs` lists the runs. Interrupt (Ctrl-C) once to stop
after the present step, twice to stop at once. The same command, given again,
goes on where it stopped, was interrupted or killed; when it had ended well, it
starts anew, and the older folders are kept under a number: .1, .2, ...

Exit status: 0 all well, 1 something failed on the way, 2 what was asked for
cannot be done (nothing was begun), 130 interrupted.";

const TRACK_EXAMPLES: &str = "\
docs/tracking.md says what is shown, and how to send the log elsewhere.

Examples:
  archai track ~/logdir/darts_cifar10_first_* --to tensorboard
  tensorboard --logdir ~/logdir
  archai track ~/logdir/darts_cifar10_first_eval --to mlflow=http://127.0.0.1:5000";

const WATCH_EXAMPLES: &str = "\
docs/watch.md shows the pages and says what keeps others out.

Examples:
  archai watch                              all runs of the log folder
  archai watch ~/logdir/darts_cifar10_first_search --open
  archai watch /mnt/shared/logdir           runs of other machines
  archai run --algos darts --watch          from the beginning of a run
From another machine, through an encrypted connection:
  ssh -L 4747:127.0.0.1:4747 HOST archai watch";

const TRAIN_EXAMPLES: &str = "\
Nothing is scaled: every cell is trained as it is written, so the data set must
have the images and classes that the description names. The rest is as in
`archai run`: its settings are those of nas.eval, which can be changed by their
dotted names, and without --full a few batches are seen. The run's folder is
ALGO_DATASET_PREFIX_eval.

Examples:
  archai desc from-genotype darts_v2.txt --aux > v2.yaml
  archai train v2.yaml --datasets cifar10 --full
  archai train mine.yaml --algo darts --nas.eval.trainer.epochs 100

With --model a training goes on, on the same data or on others (fine-tuning).
A classifier for another number of classes, or a stem for images of other
channels, starts anew, and the log and the summary name its tensors. Parts can be
held still or learn at rates of their own:
  archai train --model run_eval --datasets mine.yaml --full \\
    --nas.eval.freeze '[stem, cell*]'
  archai train --model model.safetensors --datasets mine.yaml --full \\
    --nas.eval.trainer.optimizer.lr 0.001 --nas.eval.lr_factors '{classifier: 10}'";

const STATUS_EXAMPLES: &str = "\
Examples:
  archai status                    all runs below ~/logdir
  archai status --state running    those that a process works on
  archai status /shared/runs --json";

const RUNS_EXAMPLES: &str = "\
States: running (a process works there), failed (it ended with an error),
interrupted (it was stopped or killed, and can be resumed), complete, unreadable
(what is there cannot be read, or is of another program).

Examples:
  archai runs
  archai runs ~/logdir --state failed
  archai runs --filter cifar10 --json
  archai runs rm darts_cifar10_throwaway";

const PREDICT_EXAMPLES: &str = "\
Pictures are PNG, JPEG, WebP, BMP, GIF or TIFF files. They are prepared as those
that the network was trained on: grey is repeated and colours are averaged where the network takes
the other, transparency is dropped; a side that is longer than the network's is
scaled down to it (each side on its own), a shorter one is padded with black at
both ends; then come the data set's transforms as far as they are not random.
In folders and those below, hidden files are not looked at, and files that are
no pictures by name and content are passed over. Pictures that cannot be read
are named; the others are classified all the same, and the exit status is 1.

Examples:
  archai predict --model ~/logdir/darts_cifar10_first_eval photo.jpg
  archai predict --model model.safetensors --top 3 photos/ more/*.png
  archai predict --model model.safetensors --format csv photos/ > classes.csv
  archai predict --model model.safetensors --format json my_data.yaml
  archai predict --model model.safetensors --data labelled_pictures/";

const EVALUATE_EXAMPLES: &str = "\
Settings of the data set can be changed by their names: --dataset.path DIR.
Classes of data and model are matched by their names. As CSV, the confusion
matrix is printed: a row for each class, a column for what it was taken for.

Examples:
  archai evaluate --model ~/logdir/darts_fashion_mnist_mini_throwaway_eval
  archai evaluate --model model.safetensors --datasets my_data.yaml
  archai evaluate --model model.safetensors --data pictures/
  archai evaluate --model model.safetensors --latency --batch 96 --threads 2
  archai evaluate --model model.safetensors --split none --latency
  archai evaluate --model model.safetensors --format csv > confusion.csv";

const PROXIES_EXAMPLES: &str = "\
Without --data or --datasets, images are noise and labels are random; scores then
tell networks apart, but know nothing of the task. Settings of a data set can be
changed by their names: --dataset.path DIR.

Examples:
  archai proxies
  archai proxies nb201 --sample 20 --only nwot,synflow --batch 32
  archai proxies nb201 --id nb201-222222 --datasets cifar10 --json
  archai proxies my_space.yaml --format csv > scores.csv
  archai proxies final_model_desc.yaml --data pictures/";

const MEASURE_EXAMPLES: &str = "\
The network and a fixed small one are timed in turns, until the 95 % interval of
the median is below 2 % of it: whatever else the machine does meets both, so that
the ratio can be compared between days. A description is timed with weights that
nobody trained.

Examples:
  archai latency measure model.safetensors
  archai latency measure full_model_desc.yaml --batch 1,32 --threads 2
  archai latency measure nb201 --id nb201-222222 --json
  archai latency measure model.pt --runtime onnxruntime --python python3";

const PROFILE_EXAMPLES: &str = "\
Each layer that members of the space have is timed alone, then whole members; what
the layers take alone is fitted to what the members take. How far the predictions
of networks that were not fitted are off stands in the file, and limits on latency
are made smaller by it.

Examples:
  archai latency profile --space nb201 -o nb201_laptop.yaml
  archai latency profile --space my_space.yaml --networks 100 --threads 4 -o pi.yaml";

const BENCH_EXAMPLES: &str = "\
The first five steps are at the sizes of the DARTS paper: the search network has
16 channels and 8 cells, the evaluated one 36 channels, 20 cells and the
auxiliary tower. A step's time is the median.
  cell         forward and backward of the first search cell
  supernet     forward and backward of the search network, clipping, SGD
  bilevel      a whole second-order step: architecture and weights
  eval         forward and backward of the evaluated network, clipping, SGD
  infer        the evaluated network forward
  nasbench201  as eval, the best network of NAS-Bench-201 on CIFAR-10
  resnet20     as eval, ResNet-20
  overheads    a training of the search network, and what of its steps is not
               the network: data, optimiser, metrics, log

Examples:
  archai bench
  archai bench --json --threads 2
  archai bench --only supernet --batch 32";

const EXPORT_EXAMPLES: &str = "\
The files lie in the folder `export` of a run directory, or beside a model file,
unless --out says otherwise. `archai exporters` lists the formats; a run writes
those of nas.eval.export at its end. docs/export.md has the rest.

Examples:
  archai export ~/logdir/darts_cifar10_first_eval --to onnx,pytorch,rust
  archai export model.safetensors --to onnx --input bytes --softmax --out served
  archai export ~/logdir/darts_cifar10_first_eval --to onnx --int8 --latency-with python3";

/// `archai export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// A model file (model.safetensors), or the run directory of an evaluation: NAME_eval
    #[arg(value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub model: PathBuf,
    /// Formats, separated by commas; `archai exporters` lists them
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', required = true)]
    pub to: Vec<String>,
    /// Folder for the files
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Of a run directory the weights that were best on validation data, not the last ones
    #[arg(long)]
    pub best: bool,
    /// Replace files that are there already, with other contents
    #[arg(long)]
    pub replace: bool,
    /// What goes into the network: normalised images, pixels from 0 to 1, or bytes (the file then holds the normalisation)
    #[arg(long, value_enum, default_value_t = InputArg::Normalised)]
    pub input: InputArg,
    /// Probabilities come out, not logits
    #[arg(long)]
    pub softmax: bool,
    /// Fold batch norms into the convolutions before them
    #[arg(long)]
    pub fold_norms: bool,
    /// Write weights of convolutions and linear layers in 16 bits: files of half the size
    #[arg(long)]
    pub half: bool,
    /// Write drop-path too, and auxiliary towers if the model has them, so that training can go on in PyTorch
    #[arg(long)]
    pub training: bool,
    /// Also write the ONNX file in 8 bits (NAME.int8.onnx), calibrated with pictures of the training data; its accuracy on test
    /// data is simulated and shown
    #[arg(long)]
    pub int8: bool,
    /// How many pictures it is calibrated with
    #[arg(long, value_name = "N", default_value = "256", requires = "int8", value_parser = count)]
    pub calibration: usize,
    /// A Python in which onnxruntime and NumPy are installed: it measures how long the written ONNX files take on this machine
    #[arg(long, value_name = "PYTHON", value_hint = ValueHint::ExecutablePath)]
    pub latency_with: Option<PathBuf>,
    /// The data set for --int8, and for the accuracy with --half [default: the one that the model was trained on]
    #[arg(long, value_name = "NAME", alias = "dataset")]
    pub datasets: Option<String>,
    /// Print what was written as JSON
    #[arg(long)]
    pub json: bool,
}

/// What a written network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputArg {
    // No help texts, so that the list stays on one line.
    Normalised,
    Unit,
    Bytes,
}

impl From<InputArg> for ExportInput {
    fn from(arg: InputArg) -> Self {
        match arg {
            InputArg::Normalised => ExportInput::Normalised,
            InputArg::Unit => ExportInput::Unit,
            InputArg::Bytes => ExportInput::Bytes,
        }
    }
}

/// A trained model.
#[derive(Clone, Debug, Args)]
pub struct ModelArgs {
    /// A model file (model.safetensors), or the run directory of an evaluation, whose weights after the last epoch are taken
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub model: PathBuf,

    /// Of a run directory, the weights that were best on validation data
    #[arg(long)]
    pub best: bool,

    /// Names of the classes, one a line in the order of the network's outputs, for a model that does not name them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub classes: Option<PathBuf>,
}

/// `archai predict`.
#[derive(Clone, Debug, Args)]
pub struct PredictArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,

    /// Pictures, folders with pictures, data sets (a name or a YAML file: its test data)
    #[arg(required_unless_present = "data", value_name = "PICTURES", value_hint = ValueHint::AnyPath)]
    pub inputs: Vec<PathBuf>,

    /// Labelled pictures as in `archai evaluate --data`: what is right is printed beside each that is wrong
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub data: Option<PathBuf>,

    /// How many classes are named for each picture, the most likely first [default: 5 for a single picture, 1 for more]
    #[arg(long, value_name = "N", value_parser = count)]
    pub top: Option<usize>,

    /// How it is printed.
    #[command(flatten)]
    pub format: FormatArgs,

    /// Pictures that are classified at a time; classes do not depend on it, memory does
    #[arg(long, value_name = "N", default_value = "32", value_parser = count)]
    pub batch: usize,

    /// Threads to compute with; results do not depend on it [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
}

/// `archai evaluate`.
#[derive(Clone, Debug, Args)]
pub struct EvaluateArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,

    /// The data set: a name that `archai datasets` lists, or the path of a YAML file [default: the one that the model was
    /// trained on]
    #[arg(long, value_name = "NAME", alias = "dataset")]
    pub datasets: Option<String>,

    /// A folder of pictures, or a file of a data format, in place of a data set that is described; where it has no test data,
    /// and is not what the model learnt from, all pictures count
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, conflicts_with = "datasets")]
    pub data: Option<PathBuf>,

    /// Which part of it; none measures no accuracy
    #[arg(long, value_enum, value_name = "SPLIT", default_value_t = SplitArg::Test)]
    pub split: SplitArg,

    /// Also measure how long the network takes for one picture and for a batch
    #[arg(long)]
    pub latency: bool,

    /// Pictures in a batch
    #[arg(long, value_name = "N", default_value = "32", value_parser = count)]
    pub batch: usize,

    /// How it is printed.
    #[command(flatten)]
    pub format: FormatArgs,

    /// Threads to compute with; accuracies do not depend on it [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
}

/// `archai proxies`.
#[derive(Clone, Debug, Args)]
pub struct ProxiesArgs {
    /// A model description, a trained model, a run directory, or a space of discrete search (a file, or a name of
    /// `archai space list`) [default: list the proxies]
    #[arg(value_name = "NETWORK|SPACE", value_hint = ValueHint::AnyPath)]
    pub network: Option<String>,

    /// Only these proxies, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub only: Vec<String>,

    /// Of a space: so many random members
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub sample: u32,

    /// Of a space: the members of these ids, separated by commas, in place of random ones
    #[arg(
        long,
        value_name = "IDS",
        value_delimiter = ',',
        conflicts_with = "sample"
    )]
    pub id: Vec<String>,

    /// Decides starting weights, images and random members
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Images in a batch; two batches are taken
    #[arg(long, value_name = "N", default_value = "32", value_parser = count)]
    pub batch: usize,

    /// The data set whose training images are taken: a name that `archai datasets` lists, or the path of a YAML file
    /// [default: noise]
    #[arg(long, value_name = "NAME", alias = "dataset")]
    pub datasets: Option<String>,

    /// A folder of pictures, or a file of a data format, in place of a data set that is described
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, conflicts_with = "datasets")]
    pub data: Option<PathBuf>,

    /// How it is printed.
    #[command(flatten)]
    pub format: FormatArgs,

    /// Threads to compute with; scores do not depend on it [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
}

impl ProxiesArgs {
    /// How the list of proxies is printed.
    pub fn list_args(&self) -> ListArgs {
        ListArgs {
            json: self.format.chosen() == OutputFormat::Json,
        }
    }
}

/// `archai latency …`.
#[derive(Debug, Subcommand)]
pub enum LatencyCommand {
    /// Measure a network in turns with a reference network
    #[command(after_help = MEASURE_EXAMPLES)]
    Measure(MeasureArgs),
    /// Make a table of what each layer of a space takes, with a fit to whole networks and its error
    #[command(after_help = PROFILE_EXAMPLES)]
    Profile(ProfileArgs),
    /// Look up by a table what a network takes
    #[command(
        after_help = "Examples:\n  archai latency predict nb201_laptop.yaml nb201 --sample 5\n  \
                      archai latency predict nb201_laptop.yaml member.yaml --json"
    )]
    Predict {
        /// A table that `archai latency profile` made
        #[arg(value_hint = ValueHint::FilePath)]
        table: PathBuf,
        /// A model description, a trained model, a run directory, or a space of discrete search
        #[arg(value_name = "NETWORK|SPACE", value_hint = ValueHint::AnyPath)]
        network: String,
        /// Of a space: so many random members
        #[arg(long, value_name = "N", default_value_t = 10)]
        sample: u32,
        /// Decides which members
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// What computes a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RuntimeArg {
    /// This program's inference
    Own,
    /// onnxruntime, in a Python of yours
    Onnxruntime,
}

/// `archai latency measure`.
#[derive(Clone, Debug, Args)]
pub struct MeasureArgs {
    /// A trained model, a model description, a run directory, or a space with --id
    #[arg(value_name = "NETWORK", value_hint = ValueHint::AnyPath)]
    pub network: String,

    /// Which member of a space
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,

    /// Images at a time: one size, or several separated by commas
    #[arg(long, value_name = "SIZES", value_delimiter = ',', default_value = "1,32", value_parser = count)]
    pub batch: Vec<usize>,

    /// Threads that a network runs in
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: u16,

    /// What computes it
    #[arg(long, value_enum, value_name = "RUNTIME", default_value_t = RuntimeArg::Own)]
    pub runtime: RuntimeArg,

    /// For onnxruntime: a Python in which it and NumPy are installed
    #[arg(long, value_name = "PYTHON", value_hint = ValueHint::ExecutablePath)]
    pub python: Option<PathBuf>,

    /// The longest that batches of one size are measured
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,

    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `archai latency profile`.
#[derive(Clone, Debug, Args)]
pub struct ProfileArgs {
    /// The space: a file, or a name of `archai space list`
    #[arg(long, value_name = "SPACE", value_hint = ValueHint::FilePath)]
    pub space: String,

    /// Where the table is written
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// Whole members that are timed, at least 10
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub networks: usize,

    /// Images at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = count)]
    pub batch: usize,

    /// Threads that a network runs in
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: u16,

    /// Decides which members are timed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// The longest that one layer or network is measured
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if s > 0.0 && s <= 3600.0 => Ok(s),
        _ => Err("expected seconds: a number above 0, at most 3600".into()),
    }
}

/// The choice of an [`OutputFormat`].
#[derive(Clone, Debug, Args)]
pub struct FormatArgs {
    /// How it is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
    format: OutputFormat,

    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl FormatArgs {
    /// What was chosen.
    pub fn chosen(&self) -> OutputFormat {
        match self.json {
            true => OutputFormat::Json,
            false => self.format,
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    // No help text, so that the list stays on one line.
    Table,
    Json,
    Csv,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SplitArg {
    // No help text, so that the list stays on one line.
    Test,
    Train,
    None,
}

/// `archai bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Images per batch [default: 64 in the search, 96 in the evaluation, 256 nasbench201, 128 resnet20]
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Option<u16>,

    /// Threads to compute with [default: all processors]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,

    /// Steps to measure, after one that is not counted
    #[arg(long, value_name = "N", default_value = "5", value_parser = count)]
    pub steps: usize,

    /// Measure one step alone, in this process
    #[arg(long, value_enum, hide_possible_values = true, value_name = "STEP")]
    pub only: Option<Workload>,

    /// Fused kernels, or the framework's plain operations
    #[arg(long, value_enum, default_value_t = EngineArg::Fused)]
    pub engine: EngineArg,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("expected a whole number of at least 1".into()),
    }
}

/// What `archai bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    // No help text, so that the list stays on one line.
    Cell,
    Supernet,
    Bilevel,
    Eval,
    Infer,
    #[value(name = "nasbench201")]
    NasBench201,
    #[value(name = "resnet20")]
    ResNet20,
    Overheads,
}

impl Workload {
    /// All, in the order in which they are shown.
    pub const ALL: [Workload; 8] = [
        Workload::Cell,
        Workload::Supernet,
        Workload::Bilevel,
        Workload::Eval,
        Workload::Infer,
        Workload::NasBench201,
        Workload::ResNet20,
        Workload::Overheads,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Cell => "cell",
            Workload::Supernet => "supernet",
            Workload::Bilevel => "bilevel",
            Workload::Eval => "eval",
            Workload::Infer => "infer",
            Workload::NasBench201 => "nasbench201",
            Workload::ResNet20 => "resnet20",
            Workload::Overheads => "overheads",
        }
    }
}

/// `archai run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Algorithms, separated by commas; `archai algos` lists them
    #[arg(
        long,
        alias = "algo",
        value_name = "NAMES",
        default_value = BASE_ALGORITHM,
        value_delimiter = ','
    )]
    pub algos: Vec<String>,

    /// Data sets, separated by commas: names that `archai datasets` lists, or paths of YAML files
    /// [default: fashion_mnist_mini, with --full cifar10]
    #[arg(long, alias = "dataset", value_name = "NAMES", value_delimiter = ',')]
    pub datasets: Option<Vec<String>>,

    /// A folder of pictures, or a file of a data format, in place of a data set that is described: it is looked at, and what
    /// follows from it is written into a file of the log folder (see: archai data inspect)
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, conflicts_with = "datasets")]
    pub data: Option<PathBuf>,

    /// With --data: height and width of the images [default: what fits the pictures, at most 64 without --full]
    #[arg(long, value_name = "PIXELS", requires = "data", value_parser = ["32", "64", "96", "128", "224"])]
    pub resolution: Option<String>,

    /// Evaluate on another data set than the search
    #[arg(long, alias = "eval-datasets", value_name = "NAME")]
    pub eval_dataset: Option<String>,

    #[command(flatten)]
    pub mode: ModeArgs,

    /// Search in another space than the algorithm's own, with the sizes that belong to it (see: archai spaces)
    #[arg(long, value_name = "SPACE")]
    pub space: Option<String>,

    /// Accuracies of all NAS-Bench-201 cells (CSV, plain or gzip): what the found cell truly reaches is looked up there
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub table: Option<PathBuf>,

    /// Evaluate only, what an earlier search found or nas.eval.final_desc_filename names
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    pub no_search: Option<bool>,

    /// Search only
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    pub no_eval: Option<bool>,

    /// Last part of the name of the run directories
    #[arg(long, value_name = "PREFIX", default_value = "throwaway")]
    pub exp_prefix: String,

    /// Folder of the run directories [default: common.logdir, which is ~/logdir]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub logdir: Option<String>,

    /// Configuration files to lay over the defaults, separated by commas or given one by one, the strongest last; keys that
    /// they lack stay as they are
    #[arg(long, value_name = "FILES", value_hint = ValueHint::FilePath)]
    pub config: Vec<String>,

    /// Configuration files to use instead of all defaults, in the same way
    #[arg(long, value_name = "FILES", value_hint = ValueHint::FilePath,
          conflicts_with_all = ["config", "data", "datasets", "eval_dataset", "full", "smoke", "space"])]
    pub config_only: Vec<String>,

    /// How results are computed.
    #[command(flatten)]
    pub compute: ComputeArgs,

    /// One run for each of these seeds, separated by commas; the names of their directories end with _s1, _s2, ...
    #[arg(
        long,
        value_name = "SEEDS",
        value_delimiter = ',',
        value_parser = seed,
        allow_negative_numbers = true,
        conflicts_with = "seed"
    )]
    pub seeds: Vec<u64>,

    /// Start over instead of resuming what was interrupted; the older runs are kept under a number
    #[arg(long)]
    pub fresh: bool,

    /// Resume a run although settings have changed, where the change cannot matter for what is done so far
    #[arg(long, conflicts_with = "fresh")]
    pub allow_changed: bool,

    /// Where figures go besides the log, separated by commas: tensorboard, mlflow=URL; none for nowhere
    /// [default: common.track.to, which is nowhere]
    #[arg(long, value_name = "TRACKERS", value_delimiter = ',')]
    pub track: Option<Vec<String>>,

    /// Say what would be done, with networks, memory, time and files, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// What is shown.
    #[command(flatten)]
    pub screen: ScreenArgs,
}

impl RunArgs {
    /// An evaluation without a search, as where no other flag is given.
    pub fn evaluation(algo: &str, exp_prefix: &str, compute: &ComputeArgs) -> Self {
        RunArgs {
            algos: vec![algo.to_string()],
            datasets: None,
            data: None,
            resolution: None,
            eval_dataset: None,
            mode: ModeArgs::default(),
            space: None,
            table: None,
            no_search: Some(true),
            no_eval: None,
            exp_prefix: exp_prefix.to_string(),
            logdir: None,
            config: Vec::new(),
            config_only: Vec::new(),
            compute: compute.clone(),
            seeds: Vec::new(),
            fresh: false,
            allow_changed: false,
            track: None,
            dry_run: false,
            screen: ScreenArgs::default(),
        }
    }
}

/// Threads, where nothing else can be chosen.
#[derive(Clone, Copy, Debug, Args)]
pub struct ThreadsArgs {
    /// Threads to compute with; results do not depend on it [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
}

/// How results are computed.
#[derive(Clone, Debug, Args)]
pub struct ComputeArgs {
    /// Where to compute
    #[arg(long, value_name = "NAME", default_value = USUAL_DEVICE)]
    pub device: String,

    /// What computes: fused kernels, or the framework's plain operations to compare with (results differ in the last
    /// bits)
    #[arg(long, value_enum, default_value_t = EngineArg::Fused)]
    pub engine: EngineArg,

    /// Threads.
    #[command(flatten)]
    pub threads: ThreadsArgs,

    /// Seed of all random draws [default: common.seed]
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true)]
    pub seed: Option<u64>,
}

fn seed(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| {
        "expected a whole number from 0; --seeds takes several with commas between them, as 1,2,3".into()
    })
}

/// What a run shows.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ScreenArgs {
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,

    /// Show only warnings and results
    #[arg(short, long)]
    pub quiet: bool,

    /// Show all that goes into the log
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,

    /// Show it in a browser while it goes on, at an address that is printed (see: archai watch)
    #[arg(long)]
    pub watch: bool,

    /// With --watch: open the browser
    #[arg(long, requires = "watch")]
    pub open: bool,

    /// Show lines, one below the other, on a terminal too, where otherwise one block is kept up to date
    #[arg(long)]
    pub plain: bool,
}

/// `archai watch`.
#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// Folder of the runs, at any depth, or a run directory [default: common.logdir, which is ~/logdir]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,

    /// The folder, as the other commands call it
    #[arg(id = "logdir_option", long = "logdir", value_name = "DIR", hide = true, conflicts_with = "dir",
          value_hint = ValueHint::DirPath)]
    pub logdir_option: Option<PathBuf>,

    /// Open the browser
    #[arg(long)]
    pub open: bool,

    /// Where to listen: ADDRESS, PORT or ADDRESS:PORT. Other machines reach addresses other than 127.0.0.1, without encryption
    /// [default: 127.0.0.1, the first free port from 4747 on]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// A file whose first line is the token of the address [default: a new one each time]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
}

/// `archai resume`.
#[derive(Clone, Debug, Args)]
pub struct ResumeArgs {
    /// A run directory: NAME_search or NAME_eval
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,

    /// Threads, if not those of the command.
    #[command(flatten)]
    pub threads: ThreadsArgs,

    /// Where figures go besides the log, separated by commas: tensorboard, mlflow=URL; none for nowhere
    /// [default: as the run had it]
    #[arg(long, value_name = "TRACKERS", value_delimiter = ',')]
    pub track: Option<Vec<String>>,

    /// What is shown, whatever the command showed.
    #[command(flatten)]
    pub screen: ScreenArgs,
}

/// `archai track`.
#[derive(Clone, Debug, Args)]
pub struct TrackArgs {
    /// Run directories: NAME_search or NAME_eval
    #[arg(required = true, value_name = "RUNS", value_hint = ValueHint::DirPath)]
    pub dirs: Vec<PathBuf>,

    /// Trackers, separated by commas: tensorboard, mlflow=URL
    #[arg(long, value_name = "TRACKERS", value_delimiter = ',', required = true)]
    pub to: Vec<String>,

    /// The experiment of MLflow [default: that of the run's common.track.experiment, else archai]
    #[arg(long, value_name = "NAME")]
    pub experiment: Option<String>,
}

/// `archai runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// What to do with them [default: list them]
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// Which ones.
    #[command(flatten)]
    pub which: WhichRuns,
}

/// Which runs are listed, and how.
#[derive(Debug, Args)]
pub struct WhichRuns {
    /// Folder of the runs, at any depth [default: common.logdir, which is ~/logdir]
    #[arg(value_name = "LOGDIR", value_hint = ValueHint::DirPath)]
    pub logdir: Option<PathBuf>,
    /// The same, as the other commands call it
    #[arg(id = "logdir_option", long = "logdir", value_name = "DIR", hide = true, conflicts_with = "logdir",
          value_hint = ValueHint::DirPath)]
    pub logdir_option: Option<PathBuf>,
    /// Only runs in this state
    #[arg(long, value_enum, value_name = "STATE")]
    pub state: Option<StateArg>,
    /// Only runs whose name, algorithm or data set holds this text
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be done with runs.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Remove runs, with their search and their evaluation
    ///
    /// A run in which a process works stays.
    #[command(
        after_help = "Examples:\n  archai runs rm darts_cifar10_throwaway darts_cifar10_throwaway.1\n  \
            archai runs rm --state failed --dry-run"
    )]
    Rm(RemoveArgs),
}

/// `archai runs rm`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Runs, by the names that `archai runs` shows, or one of their directories
    #[arg(value_name = "NAME", required_unless_present = "state")]
    pub names: Vec<String>,
    /// All runs in this state
    #[arg(long, value_enum, value_name = "STATE", conflicts_with = "names")]
    pub state: Option<StateArg>,
    /// Folder of the runs [default: common.logdir, which is ~/logdir]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub logdir: Option<PathBuf>,
    /// Only say what would go
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// States of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    // No help texts, so that the list stays on one line.
    Running,
    Waiting,
    Failed,
    Interrupted,
    Complete,
    Unreadable,
}

impl From<StateArg> for RunState {
    fn from(arg: StateArg) -> Self {
        match arg {
            StateArg::Running => RunState::Running,
            StateArg::Waiting => RunState::Waiting,
            StateArg::Failed => RunState::Failed,
            StateArg::Interrupted => RunState::Interrupted,
            StateArg::Complete => RunState::Complete,
            StateArg::Unreadable => RunState::Unreadable,
        }
    }
}

/// `archai train`.
#[derive(Clone, Debug, Args)]
pub struct TrainArgs {
    /// A model description
    #[arg(value_name = "NETWORK", value_hint = ValueHint::FilePath, required_unless_present = "model")]
    pub file: Option<String>,

    /// Goes on with a trained network instead: a model file, or the run directory of an evaluation. The network is fitted to the
    /// images and classes of the data set, and starts from its weights
    #[arg(long, value_name = "MODEL", conflicts_with = "file", value_hint = ValueHint::AnyPath)]
    pub model: Option<PathBuf>,

    /// The algorithm whose settings of the evaluation count; `archai algos` lists them
    #[arg(long, alias = "algos", value_name = "NAME", default_value = "manual")]
    pub algo: String,

    /// Data sets, separated by commas: names that `archai datasets` lists, or paths of YAML files
    /// [default: fashion_mnist_mini, with --full cifar10]
    #[arg(long, alias = "dataset", value_name = "NAMES", value_delimiter = ',')]
    pub datasets: Option<Vec<String>>,

    /// A folder of pictures, or a file of a data format, in place of a data set that is described: it is looked at, and what
    /// follows from it is written into a file of the log folder (see: archai data inspect)
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, conflicts_with = "datasets")]
    pub data: Option<PathBuf>,

    /// With --data: height and width of the images [default: what fits the pictures, at most 64 without --full]
    #[arg(long, value_name = "PIXELS", requires = "data", value_parser = ["32", "64", "96", "128", "224"])]
    pub resolution: Option<String>,

    #[command(flatten)]
    pub mode: ModeArgs,

    /// Last part of the name of the run directory [default: the name of the file]
    #[arg(long, value_name = "PREFIX")]
    pub exp_prefix: Option<String>,

    /// Folder of the run directories [default: common.logdir, which is ~/logdir]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub logdir: Option<String>,

    /// Configuration files to lay over the defaults, separated by commas or given one by one, the strongest last; keys that
    /// they lack stay as they are
    #[arg(long, value_name = "FILES", value_hint = ValueHint::FilePath)]
    pub config: Vec<String>,

    /// How results are computed.
    #[command(flatten)]
    pub compute: ComputeArgs,

    /// Start over instead of resuming what was interrupted; the older run is kept under a number
    #[arg(long)]
    pub fresh: bool,

    /// Resume a run although settings have changed, where the change cannot matter for what is done so far
    #[arg(long, conflicts_with = "fresh")]
    pub allow_changed: bool,

    /// Where figures go besides the log, separated by commas: tensorboard, mlflow=URL; none for nowhere
    /// [default: common.track.to, which is nowhere]
    #[arg(long, value_name = "TRACKERS", value_delimiter = ',')]
    pub track: Option<Vec<String>>,

    /// Say what would be done, with memory, time and files, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// What is shown.
    #[command(flatten)]
    pub screen: ScreenArgs,
}

/// Engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    // No help text: one for each value would spread the help of all flags over twice the lines.
    Fused,
    Plain,
}

impl From<EngineArg> for Engine {
    fn from(arg: EngineArg) -> Self {
        match arg {
            EngineArg::Fused => Engine::Fused,
            EngineArg::Plain => Engine::Plain,
        }
    }
}

/// `archai algos|ops|exporters|devices|datasets|formats|transforms`.
#[derive(Clone, Copy, Debug, Args)]
pub struct ListArgs {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Which space of discrete search.
#[derive(Clone, Debug, Args)]
pub struct SpaceArg {
    /// A file in the language of docs/search_spaces.md, or a name of `archai space list`
    #[arg(value_name = "SPACE", value_hint = ValueHint::FilePath)]
    pub space: String,
}

/// `archai space …`.
#[derive(Debug, Subcommand)]
pub enum SpaceCommand {
    /// List the spaces that come with the program
    #[command(after_help = "Example:\n  archai space list --json")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the ops of the language; those of `archai ops` are ops of it, too
    #[command(after_help = "Example:\n  archai space ops")]
    Ops {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check every member; say how many there are, how large, and what is hardly meant
    #[command(
        after_help = "Examples:\n  archai space check mine.yaml\n  archai space check mobile --limit 'params<=2e6' --limit 'macs<=3e8'"
    )]
    Check {
        /// The space.
        #[command(flatten)]
        space: SpaceArg,
        /// What some member must keep: params<=N or macs<=N
        #[arg(long, value_name = "LIMIT")]
        limit: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the choices, each at its place
    #[command(
        after_help = "Examples:\n  archai space show mlp\n  archai space show mine.yaml --json"
    )]
    Show {
        /// The space.
        #[command(flatten)]
        space: SpaceArg,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Count the members and, of up to a million, the different networks among them
    #[command(after_help = "Example:\n  archai space count nb201")]
    Count {
        /// The space.
        #[command(flatten)]
        space: SpaceArg,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw members at random
    #[command(after_help = "Example:\n  archai space sample mobile --n 5 --seed 3")]
    Sample {
        /// The space.
        #[command(flatten)]
        space: SpaceArg,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1)]
        n: u32,
        /// The same seed gives the same members
        #[arg(long, value_name = "SEED", default_value_t = 0)]
        seed: u64,
        /// As JSON, with all choices
        #[arg(long)]
        json: bool,
    },
    /// Write the model description of a member, as `archai train` takes it
    #[command(after_help = "Example:\n  archai space desc nb201 nb201-433000 -o cell.yaml")]
    Desc {
        /// The space.
        #[command(flatten)]
        space: SpaceArg,
        /// Id of the member
        id: String,
        /// File for the description [default: standard output]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Draw the network of a member as SVG and as a Graphviz graph
    #[command(
        after_help = "Examples:\n  archai space draw nb201 nb201-433000 -o cell.svg\n  archai space draw mine.yaml --seed 3"
    )]
    Draw {
        /// The space.
        #[command(flatten)]
        space: SpaceArg,
        /// Id of the member [default: a random one]
        id: Option<String>,
        /// Which random member
        #[arg(long, value_name = "SEED", default_value_t = 0, conflicts_with = "id")]
        seed: u64,
        /// The drawing (.svg); the graph (.dot) is put beside it [default: the space's name]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
}

/// `archai search …`.
#[derive(Debug, Subcommand)]
pub enum SearchCommand {
    /// Search, or go on with a search
    #[command(after_help = SEARCH_EXAMPLES)]
    Run(Box<SearchRunArgs>),
    /// Say how far a search is: trials by state, the best so far
    #[command(
        after_help = "Example:\n  archai search status ~/logdir/resnet_fashion_mnist_mini_trials"
    )]
    Status {
        /// The folder of the search
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the networks that no other beats in all objectives, or draw them
    #[command(
        after_help = "Examples:\n  archai search front mine\n  archai search front mine --format csv -o front.csv\n  \
            archai search front mine --beside random -o front.svg"
    )]
    Front {
        /// The folder of the search
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// How [default: what the file's ending says, else table]
        #[arg(long, value_enum)]
        format: Option<FrontFormat>,
        /// As JSON
        #[arg(long, conflicts_with = "format")]
        json: bool,
        /// Folder of another search with the same objectives to compare with: its front and its hypervolume are drawn, too
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        beside: Option<PathBuf>,
        /// File to write [default: standard output]. With SVG, the hypervolume is drawn beside it: NAME_progress.svg
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Write the description of the best network, as `archai train` takes it
    #[command(
        after_help = "Of several objectives, the best network is the one of the front that is best in the first of them.\n\n\
            Examples:\n  archai search best mine -o best.yaml\n  archai search best mine --by params\n  \
            archai search best mine --knee --json"
    )]
    Best {
        /// The folder of the search
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// Best in this objective, of the networks on the front
        #[arg(long, value_name = "OBJECTIVE", conflicts_with_all = ["knee", "predicted"])]
        by: Option<String>,
        /// The one that bends the front farthest
        #[arg(long, conflicts_with = "predicted")]
        knee: bool,
        /// Also count what trees predict of each network that have not seen it, 3 to 7: one lucky short training then counts for less
        #[arg(long)]
        predicted: bool,
        /// Say which it is, as JSON, in place of its description
        #[arg(long)]
        json: bool,
        /// File for the description [default: standard output]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Write all trials for other programs: Archai's table, Optuna's journal
    #[command(
        after_help = "Examples:\n  archai search export mine --to search_state -o search_state.csv\n  \
            archai search export mine --to optuna -o optuna.log    (optuna-dashboard optuna.log shows it)"
    )]
    Export {
        /// The folder of the search
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// What
        #[arg(long, value_enum)]
        to: SearchExport,
        /// File to write [default: standard output]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Tell a search what a network reaches, or want one to be tried next
    #[command(
        after_help = "With values it is a result that was found elsewhere; every objective needs one, except those that follow\n\
            from the description. Without values the network is tried before all others when the search goes on.\n\n\
            Examples:\n  archai search add mine tiny-a0k3 --values accuracy=0.91\n  archai search add mine tiny-a1k5"
    )]
    Add {
        /// The folder of the search
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// Id of the network
        id: String,
        /// What it reaches: NAME=NUMBER, separated by commas
        #[arg(long, value_name = "VALUES", value_delimiter = ',')]
        values: Vec<String>,
        /// Where it comes from, in words
        #[arg(long, value_name = "TEXT", default_value = "added by hand")]
        source: String,
    },
}

/// `archai search run`.
#[derive(Clone, Debug, Args)]
pub struct SearchRunArgs {
    /// The space.
    #[command(flatten)]
    pub space: SpaceArg,

    /// What is to be as good as possible, separated by commas, the most important first: accuracy, loss and train_time of a
    /// training, latency (measured here, in milliseconds for one image), params, macs, model_size and activation_memory, zero-cost
    /// proxies (proxy.NAME, see `archai proxies`), or what a table or a command finds out, with its direction (max:NAME, min:NAME)
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "accuracy,params"
    )]
    pub objectives: Vec<String>,

    /// A hard limit on any of these: NAME<=NUMBER or NAME>=NUMBER, where the number may end in k, M or G; may be given again
    #[arg(long, value_name = "LIMIT")]
    pub limit: Vec<String>,

    /// How many networks are tried in all, those of before included; a larger one goes on with a search that had ended
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub budget: u32,

    /// How many networks are trained at a time; they share the threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,

    /// What proposes networks: guided, random, local, regularised_evolution, nsga2, evolution_pareto, bananas, halving
    #[arg(
        long,
        alias = "optimizer",
        value_name = "NAME",
        default_value = "guided"
    )]
    pub optimiser: String,

    /// A setting of the optimiser: NAME=VALUE; may be given again
    #[arg(long, value_name = "SETTING")]
    pub set: Vec<String>,

    /// Trial k knows the results of the trials before k - LAG, and no others: the same trials for any number of workers
    #[arg(long, value_name = "LAG")]
    pub strict: Option<usize>,

    /// Epochs of each training [default: nas.eval.trainer.epochs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: Option<u32>,

    /// With --optimiser halving: after how many epochs trainings are compared, separated by commas; the last number is that of a
    /// whole training [default: a ninth, a third and all of the epochs]
    #[arg(long, value_name = "EPOCHS", value_delimiter = ',')]
    pub rungs: Vec<u32>,

    /// Folder of the search [default: SPACE_DATA_trials in the log folder]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,

    /// The algorithm whose settings of the evaluation count; `archai algos` lists them
    #[arg(long, alias = "algos", value_name = "NAME", default_value = "manual")]
    pub algo: String,

    /// The data set: a name that `archai datasets` lists, or the path of a YAML file [default: fashion_mnist_mini, with --full
    /// cifar10]
    #[arg(long, alias = "dataset", value_name = "NAME")]
    pub datasets: Option<String>,

    /// A folder of pictures, or a file of a data format, in place of a data set that is described (see: archai data inspect)
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, conflicts_with = "datasets")]
    pub data: Option<PathBuf>,

    /// With --data: height and width of the images [default: what fits the pictures, at most 64 without --full]
    #[arg(long, value_name = "PIXELS", requires = "data", value_parser = ["32", "64", "96", "128", "224"])]
    pub resolution: Option<String>,

    #[command(flatten)]
    pub mode: ModeArgs,

    /// Log folder [default: common.logdir, which is ~/logdir]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub logdir: Option<String>,

    /// Configuration files to lay over the defaults, separated by commas or given one by one, the strongest last
    #[arg(long, value_name = "FILES", value_hint = ValueHint::FilePath)]
    pub config: Vec<String>,

    /// Look networks up in a table (CSV, plain or gzip) instead of training them; objectives and limits name its columns
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["command", "data", "datasets"])]
    pub table: Option<PathBuf>,

    /// With --table: the column of ids [default: the first one]
    #[arg(long, value_name = "COLUMN", requires = "table")]
    pub key: Option<String>,

    /// With --table: in which column a quantity stands, and after how many epochs: NAME=COLUMN or NAME=COLUMN@EPOCHS; may be given
    /// again [default: the column of its name]
    #[arg(long, value_name = "COLUMN", requires = "table")]
    pub column: Vec<String>,

    /// With --table: quantities that are known before a network is tried, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "table")]
    pub known: Vec<String>,

    /// Run a program of yours for each network instead of our training, which gets it as JSON and answers in JSON (see
    /// docs/search.md)
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["data", "datasets"])]
    pub command: Option<String>,

    /// With --command: seconds after which it is ended, and its network counts as failed
    #[arg(long, value_name = "SECONDS", requires = "command")]
    pub time_limit: Option<f64>,

    /// How results are computed.
    #[command(flatten)]
    pub compute: ComputeArgs,

    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,

    /// Show only warnings and results
    #[arg(short, long)]
    pub quiet: bool,

    /// Show lines alone, on a terminal too
    #[arg(long)]
    pub plain: bool,
}

/// How a front is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FrontFormat {
    /// A table for people.
    Table,
    /// JSON.
    Json,
    /// CSV.
    Csv,
    /// A drawing.
    Svg,
}

/// What a search is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SearchExport {
    /// The table of Microsoft Archai's discrete searches, as CSV
    #[value(name = "search_state")]
    SearchState,
    /// A journal file of Optuna's JournalStorage
    Optuna,
}

/// `archai config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration that a run would use
    #[command(after_help = "Examples:\n  \
            archai config show darts\n  \
            archai config show darts --full --datasets cifar10 --origins\n  \
            archai config show darts --nas.eval.trainer.epochs 200 > mine.yaml\n  \
            archai config show darts,random --config for_both.yaml")]
    Show(ShowArgs),
    /// Print the JSON schema of configuration files, for editors
    #[command(
        after_help = "Example:\n  archai config schema > archai.schema.json\n\n\
            Editors with the YAML language server complete and check a file that starts with\n  \
            # yaml-language-server: $schema=archai.schema.json"
    )]
    Schema {
        /// Include the section of this algorithm alone [default: those of all algorithms]
        algo: Option<String>,
    },
    /// Translate a configuration file of Microsoft Archai
    ///
    /// Prints a file for `archai run --config`, with what it includes. Keys that are left out or changed are listed on
    /// standard error, each with the reason.
    #[command(after_help = "Examples:\n  \
            archai config import archai/confs/algos/xnas.yaml > xnas_there.yaml\n  \
            archai config import mine.yaml --algo petridish -o mine_here.yaml\n  \
            archai run --algos xnas --full --config xnas_there.yaml")]
    Import {
        /// The file, or - for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
        /// The algorithm that it is for [default: that of the file's name, or darts]
        #[arg(long, alias = "algos", value_name = "NAME")]
        algo: Option<String>,
        /// Where to write it [default: standard output]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Print a file that comes with the program, or list them
    #[command(
        after_help = "Errors and `archai config show --origins` point into these files.\n\n\
            Examples:\n  \
            archai config defaults\n  \
            archai config defaults archai:algos/common.yaml\n  \
            archai config defaults algos/darts.yaml"
    )]
    Defaults {
        /// The file, as errors name it, or its last word alone [default: the names of all]
        file: Option<String>,
    },
}

/// `archai config show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// The algorithm; behind commas, others that run with it, so that files may have their sections, too
    #[arg(value_delimiter = ',', num_args = 1, required = true)]
    pub algo: Vec<String>,
    /// Say behind each value where it was written
    #[arg(long)]
    pub origins: bool,
    /// Data set [default: fashion_mnist_mini, with --full cifar10]
    #[arg(long, value_name = "NAME", alias = "dataset")]
    pub datasets: Option<String>,
    /// Evaluate on another data set than the search
    #[arg(long, alias = "eval-datasets", value_name = "NAME")]
    pub eval_dataset: Option<String>,
    #[command(flatten)]
    pub mode: ModeArgs,
    /// Another space than the algorithm's own
    #[arg(long, value_name = "SPACE")]
    pub space: Option<String>,
    /// Configuration files to lay over the defaults, separated by commas or given one by one, the strongest last
    #[arg(long, value_name = "FILES", value_hint = ValueHint::FilePath)]
    pub config: Vec<String>,
    /// Configuration files to use instead of all defaults, in the same way
    #[arg(long, value_name = "FILES", value_hint = ValueHint::FilePath,
          conflicts_with_all = ["config", "datasets", "eval_dataset", "full", "smoke", "space"])]
    pub config_only: Vec<String>,
}

/// What `archai desc draw` draws, and how.
#[derive(Clone, Debug, Args)]
pub struct DrawArgs {
    /// A model description, a run directory, or - for standard input
    #[arg(value_hint = ValueHint::AnyPath)]
    pub file: String,
    /// What to make
    #[arg(long, value_enum)]
    pub format: Option<DrawFormat>,
    /// Where to put it [default: the description's name with the format's ending]
    #[arg(short, long, alias = "out", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Draw each pixel of a PNG as so many in both directions [default: 2]
    #[arg(long, value_name = "N")]
    pub scale: Option<f32>,
    /// Draw a PNG on a dark ground; SVG and HTML follow the viewer
    #[arg(long)]
    pub dark: bool,
}

/// What a network is drawn as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DrawFormat {
    /// The cells as a vector drawing
    Svg,
    /// The cells as a picture
    Png,
    /// The cells as a graph of Graphviz
    Dot,
    /// A page of the whole network
    Html,
}

impl DrawFormat {
    /// The ending of its files.
    pub fn ending(self) -> &'static str {
        match self {
            DrawFormat::Svg => "svg",
            DrawFormat::Png => "png",
            DrawFormat::Dot => "dot",
            DrawFormat::Html => "html",
        }
    }
}

/// `archai desc …`.
#[derive(Debug, Subcommand)]
pub enum DescCommand {
    /// Show cells, shapes, parameters and multiply-adds
    #[command(
        after_help = "Examples:\n  archai desc show final_model_desc.yaml\n  archai desc show full_model_desc.yaml --json"
    )]
    Show {
        /// A model description, or - for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the network's layers, with every value and parameter by name
    #[command(
        after_help = "Examples:\n  archai desc lower full_model_desc.yaml\n  archai desc lower full_model_desc.yaml --json"
    )]
    Lower {
        /// A model description, or - for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
        /// As JSON, for programs that write the network in another form
        #[arg(long)]
        json: bool,
    },
    /// Check that a description can be built
    #[command(after_help = "Example:\n  archai desc check edited.yaml")]
    Check {
        /// A model description, or - for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
    },
    /// Draw the cells (SVG, PNG, a Graphviz graph), or make a page of the whole network (HTML)
    #[command(
        after_help = "Without --format, the ending of --output says what to make. Without either, the drawing (.svg) and the \
                      graph (.dot) are put beside the description.\n\nExamples:\n  archai desc draw final_model_desc.yaml\n  \
                      archai desc draw final_model_desc.yaml -o cells.png\n  archai desc draw final_model_desc.yaml --format html"
    )]
    Draw(DrawArgs),
    /// Scale a found description up or down
    #[command(
        after_help = "Example:\n  archai desc scale final_model_desc.yaml --cells 20 --channels 36 -o large.yaml"
    )]
    Scale {
        /// A found description, or - for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
        /// The network's size
        #[command(flatten)]
        macro_args: MacroArgs,
        /// Where to write it [default: standard output]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Read a description that Archai wrote
    #[command(
        after_help = "Example:\n  archai desc import archai/confs/darts_models/final_model_desc1.yaml -o found.yaml"
    )]
    Import {
        /// A final_model_desc.yaml of Archai, or - for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
        /// Where to write it [default: standard output]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Print a description as a genotype of the original DARTS code
    #[command(after_help = "Example:\n  archai desc genotype final_model_desc.yaml")]
    Genotype {
        /// A found description, or - for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
    },
    /// Make a full description from a genotype of DARTS and its kin
    ///
    /// Reads flat lists, lists by node, (op, node, input) triples and dictionaries, alone or within a log or a Python module.
    #[command(
        name = "from-genotype",
        after_help = "Examples:\n  \
            archai desc from-genotype darts_v2.txt --stems one --aux > darts_v2.yaml\n  \
            archai desc from-genotype genotypes.py --name PCDARTS --dataset imagenet\n  \
            archai desc from-genotype search.log --nth -1\n  \
            archai desc genotype final_model_desc.yaml | archai desc from-genotype -"
    )]
    FromGenotype(FromArgs),
    /// Make a full description from what another program wrote
    ///
    /// Tells by the text what it is, and says so: a genotype of DARTS and its kin, a cell of NAS-Bench-201 (its text or its six
    /// digits), a cell of NAS-Bench-101 (matrix and ops), or a model description of Microsoft Archai. Cells of a benchmark get
    /// the benchmark's network around them.
    #[command(after_help = "Examples:\n  \
            archai desc from genotypes.py --name FairDARTS_b -o found.yaml\n  \
            echo '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|' | archai desc from -\n  \
            archai desc from cell.json --dataset cifar100")]
    From(FromArgs),
}

/// `archai desc from` and `from-genotype`.
#[derive(Clone, Debug, Args)]
pub struct FromArgs {
    /// The file, or - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: String,
    /// Of several architectures in the file, the one at this place: 1 is the first, -1 the last
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with = "name"
    )]
    pub nth: Option<i64>,
    /// Of several genotypes in the file, the one that is assigned to this name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The network's size
    #[command(flatten)]
    pub macro_args: MacroArgs,
    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

const IMPORT_EXAMPLES: &str = "\
WEIGHTS is a file of PyTorch (torch.save of a state dict or of a checkpoint that
holds one, of any version since 0.1.10) or a safetensors file. Nothing in it is
run: tensors are read, and whatever else a file holds is refused by name. Every
tensor finds its place, or the error names it.

The network is a genotype whose weights the original DARTS code trained (its
size is read off the weights), or a description of this program.

Examples:
  archai import cifar10_model.pt --genotype genotypes.py --name DARTS_V2 --out darts.safetensors
  archai import imagenet_model.pt --genotype genotypes.py --name DARTS_V2 --out large.safetensors
  archai import run_eval/model.pt --desc run_eval/full_model_desc.yaml --out again.safetensors";

/// `archai import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The weights: .pt, .pth or .safetensors
    #[arg(value_hint = ValueHint::FilePath)]
    pub weights: PathBuf,
    /// The genotype, or a file that holds it: the weights are those of the original DARTS code
    #[arg(long, value_name = "TEXT-OR-FILE", conflicts_with = "desc", value_hint = ValueHint::FilePath)]
    pub genotype: Option<String>,
    /// Of several genotypes in the file, the one that is assigned to this name
    #[arg(long, value_name = "NAME", requires = "genotype")]
    pub name: Option<String>,
    /// The network's description [default: the one in the header of a model file]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub desc: Option<String>,
    /// Channels of the first cell's nodes; an error if the weights have others [default: as the weights have]
    #[arg(long, value_name = "N", requires = "genotype")]
    pub channels: Option<usize>,
    /// Cells; an error if the weights have others [default: as the weights have]
    #[arg(long, value_name = "N", requires = "genotype")]
    pub layers: Option<usize>,
    /// Classes; an error if the weights have others [default: as the weights have]
    #[arg(long, value_name = "N", requires = "genotype")]
    pub classes: Option<usize>,
    /// How the tensors are called: archai or darts [default: as it looks]
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,
    /// Data set whose image size and normalisation the network was trained with: a name or the path of a YAML file
    /// [default: cifar10; imagenet for a network with its stems]
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// What the network takes and gives, as a run writes it [default: model.yaml beside the weights, where --desc names the network]
    #[arg(long, value_name = "FILE", conflicts_with = "dataset", value_hint = ValueHint::FilePath)]
    pub info: Option<PathBuf>,
    /// Names of the classes, one a line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub class_names: Option<PathBuf>,
    /// Where to write the model file
    #[arg(short, long, value_name = "FILE", default_value = "model.safetensors", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,
}

/// Size and surroundings of a network.
#[derive(Clone, Debug, Args)]
pub struct MacroArgs {
    /// Channels of the first cell's nodes [default: 36; ImageNet 48; a benchmark's own]
    #[arg(long, value_name = "N")]
    pub channels: Option<usize>,
    /// Cells [default: 20; ImageNet 14; a benchmark's own]
    #[arg(long, value_name = "N")]
    pub cells: Option<usize>,
    /// Cells that halve the size [default: 2]
    #[arg(long, value_name = "N")]
    pub reductions: Option<usize>,
    /// Stems in front of the cells [default: two; of a genotype for ImageNet imagenet]
    #[arg(long, value_enum)]
    pub stems: Option<StemsArg>,
    /// With the auxiliary tower that trainings use
    #[arg(long)]
    pub aux: bool,
    /// Data set whose images and classes the network is for: a name or the path of a YAML file
    #[arg(long, alias = "datasets", value_name = "NAME", default_value = CIFAR10)]
    pub dataset: String,
}

/// The data set that networks are for unless something else is said.
pub const CIFAR10: &str = "cifar10";

/// How many stems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StemsArg {
    /// One, which both inputs of the first cell read, as in the original DARTS code
    One,
    /// Two, as in Archai
    Two,
    /// Two, of which the second reads the first, for images of 224 pixels, as in the original DARTS code
    Imagenet,
}

/// `archai data …`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Download a data set, check and unpack it
    ///
    /// An interrupted download goes on where it stopped.
    #[command(
        after_help = "Examples:\n  archai data get cifar10\n  archai data get cifar10 --from ~/Downloads/cifar-10-binary.tar.gz"
    )]
    Get {
        /// The data set: cifar10 or cifar100
        name: String,
        /// Take it from another address or from a file
        #[arg(long, value_name = "FILE-OR-URL", value_hint = ValueHint::AnyPath)]
        from: Option<String>,
        /// Folder of all data sets [default: $default_dataroot, or ~/dataroot]
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dataroot: Option<PathBuf>,
    },

    /// Say what a data set is like: classes, sizes, kinds of pictures, statistics of pixels, and what follows from these
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectArgs),

    /// Draw what a training sees of pictures: several draws of its transforms for each
    #[command(
        after_help = "Examples:\n  archai data preview ~/pictures\n  archai data preview flowers.yaml --output flowers.png --draws 12 --cutout 16"
    )]
    Preview(PreviewArgs),
}

const INSPECT_EXAMPLES: &str = "\
Of a file of a data set only the section `dataset` counts. Of large data sets 1000
pictures are looked at, the same ones each time.

Examples:
  archai data inspect ~/pictures               a folder of class folders
  archai data inspect flowers.yaml --json      a data set that is described
  archai data inspect ~/pictures --sheet sheet.png --output pictures.yaml";

/// `archai data inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A folder of pictures, a file of a data format, the YAML file of a data set, or the name of one
    #[arg(value_name = "PATH|NAME|FILE.yaml", value_hint = ValueHint::AnyPath)]
    pub what: String,

    /// As JSON
    #[arg(long)]
    pub json: bool,

    /// Draw samples of each class, before and after the transforms of a training, as a PNG file
    #[arg(long, value_name = "FILE.png", value_hint = ValueHint::FilePath)]
    pub sheet: Option<PathBuf>,

    /// Write the file that --datasets takes
    #[arg(long, short, value_name = "FILE.yaml", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// Height and width of the images [default: what fits the pictures]
    #[arg(long, value_name = "PIXELS", value_parser = ["32", "64", "96", "128", "224"])]
    pub resolution: Option<String>,
}

/// `archai data preview`.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// A folder of pictures, a file of a data format, the YAML file of a data set, or the name of one
    #[arg(value_name = "PATH|NAME|FILE.yaml", value_hint = ValueHint::AnyPath)]
    pub what: String,

    /// The PNG file
    #[arg(long, short, value_name = "FILE.png", default_value = "preview.png", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// How many pictures
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub pictures: u8,

    /// How many draws of each
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub draws: u8,

    /// Side of the square that cutout takes away, as loader.cutout has it
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub cutout: u16,

    /// Height and width of the images [default: what fits the pictures]
    #[arg(long, value_name = "PIXELS", value_parser = ["32", "64", "96", "128", "224"])]
    pub resolution: Option<String>,
}

const TABLE_EXAMPLES: &str = "\
Examples:
  archai table nb201.csv.gz 433000
  archai table nb201.csv.gz darts-nasbench201_cifar10_throwaway_search/final_model_desc.yaml";

/// `archai table`.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// Accuracies of all cells (CSV, plain or gzip)
    #[arg(value_hint = ValueHint::FilePath)]
    pub table: PathBuf,
    /// The cell: six digits, the benchmark's text `|op~0|+|op~0|op~1|+…`, or a found description
    #[arg(value_hint = ValueHint::FilePath)]
    pub cell: String,
}

/// `archai report …`.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Mean, deviation and confidence interval over seeds, beside the random baseline
    ///
    /// Finds the runs below the folders. Runs that differ in nothing but their seed (--seed) make a group; each group is
    /// compared with that of the algorithm `random` on the same data set with the same evaluation. Runs that cannot count
    /// are listed with the reason.
    #[command(after_help = COLLATE_EXAMPLES)]
    Collate(CollateArgs),
    /// One page to look at: what a run found, how good it is, whether its search collapsed
    ///
    /// Of a run directory, finished or not: curves, architecture parameters as they moved, the cells after each epoch,
    /// figures with their confidence interval, and where all of it comes from. Of folders that hold runs: what `report collate`
    /// computes, as pictures. The file is complete in itself and needs no network. Every run writes its own at its end.
    #[command(after_help = HTML_EXAMPLES)]
    Html(HtmlArgs),
}

const HTML_EXAMPLES: &str = "\
Examples:
  archai report html ~/logdir/darts_fashion_mnist_mini_throwaway_search
  archai report html ~/logdir
  archai report html runs/cifar10 runs/mini --out all.html";

/// `archai report html`.
#[derive(Debug, Args)]
pub struct HtmlArgs {
    /// A run directory, or folders that hold runs, at any depth
    #[arg(required = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dirs: Vec<PathBuf>,
    /// The file to write [default: report.html in DIR]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
}

const COLLATE_EXAMPLES: &str = "\
Examples:
  archai report collate ~/logdir
  archai report collate ~/logdir --format csv > runs.csv
  archai report collate runs/cifar10 runs/mini --out report";

/// `archai report collate`.
#[derive(Debug, Args)]
pub struct CollateArgs {
    /// Folders that hold runs, at any depth
    #[arg(required = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dirs: Vec<PathBuf>,
    /// Folder for report.md, report.csv and report.json [default: standard output]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Which of them, separated by commas [default: markdown, with --out all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORMATS")]
    pub format: Vec<FormatArg>,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// For people
    Markdown,
    /// One line per group and figure
    Csv,
    /// Everything
    Json,
}

/// How much a run does.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ModeArgs {
    /// The published settings instead of toy mode, which trains small networks until one sees that they learn
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    full: Option<bool>,

    /// A handful of steps per phase, to see that everything works
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", conflicts_with = "full",
          value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    smoke: Option<bool>,
}

impl ModeArgs {
    /// The mode that was chosen.
    pub fn mode(self) -> RunMode {
        match (is_on(self.full), is_on(self.smoke)) {
            (true, _) => RunMode::Full,
            (_, true) => RunMode::Smoke,
            _ => RunMode::Toy,
        }
    }
}

/// How a flag that counts as given without a value is meant.
pub fn is_on(flag: Option<bool>) -> bool {
    flag.unwrap_or(false)
}
