//! A space with every choice at its own place: repetitions are written out, names are resolved, and each choice has a
//! number, its slot. All that is asked of members walks this tree.

use std::collections::HashMap;
use std::sync::Arc;

use archai_spec::desc::OpCatalog;

use super::SpaceError;
use super::desc::{
    Args, Binding, Cells, Dag, DagEdges, DagOutput, FLOAT_STEPS, Layer, LayerKind, Let, Lit, Pos,
    Recipe, RecipeChoice, RecipeOption, SpaceDesc, Value, ValueKind,
};
use super::expr::Expr;
use super::member::RecipeValue;
use super::ops;
use super::yaml::{constructs, suggest};

/// A choice that is not made.
pub(crate) const NONE: u16 = u16::MAX;

/// Most layers once repetitions are written out.
const MAX_LAYERS: usize = 200_000;
/// Most repetitions of one body.
const MAX_TIMES: i64 = 1000;
/// Most choices, so that a choice's number and that of any option have 16 bits.
const MAX_SLOTS: usize = 65_000;
/// Most options of all choices together.
const MAX_OPTIONS: usize = 4_000_000;
/// Most values that an expression may come to.
const MAX_VALUES: usize = 100_000;

/// A choice.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Where in the network it is: `s1[0].mbconv.kernel`.
    pub place: String,
    /// Where it is written.
    pub pos: Pos,
    /// The options as people read them.
    pub options: Vec<String>,
    /// How the options stand in ids, and what stands before them.
    pub tokens: Vec<String>,
    pub letter: Option<char>,
    /// Whether it is a choice among ops of an edge of a graph.
    pub is_edge: bool,
    /// Whether it belongs to the recipe, not to the network.
    pub is_recipe: bool,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Val {
    Lit(Lit),
    Choice(usize, Vec<Val>),
    /// What a name stands for, whose choices are made where it is bound.
    Ref(Arc<Val>),
    Expr(Expr, Vec<(String, Val)>, Pos),
}

pub(crate) type Seq = Vec<Item>;

/// A part of a network.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub pos: Pos,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Op(String, Vec<(String, Val)>),
    OneOf(usize, Vec<Seq>),
    Repeat(Val, Vec<Seq>),
    Scope(Scope),
    /// Layers of a name, by their index among [`Tree::fragments`].
    Use(usize),
    Residual(Seq),
    Branches(bool, Vec<Seq>),
    Dag(Graph),
    Cells(CellStack),
}

/// Names and where they hold.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub lets: Vec<Bound>,
    pub body: Seq,
}

#[derive(Clone, Debug)]
pub(crate) enum Bound {
    Value(Arc<Val>),
    Layers(usize),
}

/// A small graph.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub inputs: usize,
    pub nodes: usize,
    /// In the order in which their choices are made. State i is input i, state `inputs` + k is node k.
    pub edges: Vec<Edge>,
    /// For `pick`: the slot of each node, whose options are the sets of states in lexical order; slots of its ops follow.
    pub picks: Vec<Pick>,
    /// What each node computes on its sum, where ops are on nodes.
    pub node_ops: Vec<EdgeOp>,
    pub output: DagOutput,
}

#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub from: usize,
    pub to: usize,
    pub op: Option<EdgeOp>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pick {
    pub slot: Option<usize>,
    /// The sets of states.
    pub sets: Vec<Vec<usize>>,
    pub ops: Vec<EdgeOp>,
}

/// A choice among layers; no choice where there is one option.
#[derive(Clone, Debug)]
pub(crate) struct EdgeOp {
    pub slot: Option<usize>,
    pub options: Vec<Seq>,
}

/// Cells of two inputs.
#[derive(Clone, Debug)]
pub(crate) struct CellStack {
    pub channels: Val,
    /// Index of the kind of each cell.
    pub sequence: Vec<usize>,
    /// Name, whether it halves height and width, and graph.
    pub kinds: Vec<(String, bool, Graph)>,
}

/// A setting that members choose, in the order of the walk.
#[derive(Clone, Debug)]
pub(crate) enum Setting {
    Value(String, Val),
    /// Slot, value of its first option and how to go on.
    Int(String, usize, i64, i64),
    Float(String, usize, f64, f64, bool),
    OneOf(usize, Vec<Vec<Setting>>),
}

/// A space with every choice at its own place.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub slots: Vec<Slot>,
    pub fragments: Vec<Seq>,
    /// The names of the whole space and the network.
    pub root: Scope,
    pub recipe: Vec<Setting>,
    /// Conditions: text, place, expression, what its names stand for.
    pub conditions: Vec<GrownCondition>,
    /// How many layers there are.
    pub layers: usize,
    /// Names that nothing uses.
    pub unused: Vec<(String, Pos)>,
}

/// Makes choices, or says which were made, while a tree is walked.
pub(crate) trait Chooser {
    /// The option of a slot that has `n`.
    fn choose(&mut self, slot: usize, n: usize) -> Result<u16, SpaceError>;
    /// A new stage or repetition begins.
    fn separate(&mut self, _with: char) {}
}

impl Val {
    /// Its value under choices.
    pub(crate) fn value(&self, choices: &[u16]) -> Result<Lit, SpaceError> {
        Ok(match self {
            Val::Lit(lit) => lit.clone(),
            Val::Choice(slot, options) => match options.get(usize::from(choices[*slot])) {
                Some(option) => option.value(choices)?,
                None => {
                    return Err(SpaceError::new(format!(
                        "choice {slot} is not made, or has no option {}",
                        choices[*slot]
                    )));
                }
            },
            Val::Ref(inner) => inner.value(choices)?,
            Val::Expr(expr, names, pos) => {
                let of = |name: &str| {
                    let found = names.iter().find(|(known, _)| known == name);
                    match found {
                        Some((_, value)) => value.value(choices).map_err(|e| e.message),
                        None => Err(format!("there is no `${name}`")),
                    }
                };
                expr.value(&of).map_err(|e| SpaceError::at(pos, e))?
            }
        })
    }

    /// A number of repetitions.
    pub(crate) fn times(&self, choices: &[u16], pos: &Pos) -> Result<usize, SpaceError> {
        times(&self.value(choices)?, pos)
    }

    pub(crate) fn walk(&self, choices: &mut [u16], by: &mut dyn Chooser) -> Result<(), SpaceError> {
        if let Val::Choice(slot, options) = self {
            let i = by.choose(*slot, options.len())?;
            choices[*slot] = i;
            if let Some(option) = options.get(usize::from(i)) {
                option.walk(choices, by)?;
            }
        }
        Ok(())
    }
}

fn times(lit: &Lit, pos: &Pos) -> Result<usize, SpaceError> {
    match lit {
        Lit::Int(n) if (0..=MAX_TIMES).contains(n) => Ok(*n as usize),
        other => Err(SpaceError::at(
            pos,
            format!("`times` is a whole number from 0 to {MAX_TIMES}, not `{other}`"),
        )),
    }
}

impl EdgeOp {
    pub(crate) fn walk(
        &self,
        tree: &Tree,
        choices: &mut [u16],
        by: &mut dyn Chooser,
    ) -> Result<(), SpaceError> {
        let i = match self.slot {
            Some(slot) => {
                let i = by.choose(slot, self.options.len())?;
                choices[slot] = i;
                usize::from(i)
            }
            None => 0,
        };
        match self.options.get(i) {
            Some(option) => tree.walk_seq(option, choices, by),
            None => Ok(()),
        }
    }

    /// What was chosen.
    pub(crate) fn chosen(&self, choices: &[u16]) -> Option<&Seq> {
        self.options
            .get(self.slot.map_or(0, |slot| usize::from(choices[slot])))
    }
}

impl Tree {
    /// Goes through all choices that exist, in the order of ids, and writes them down.
    pub(crate) fn walk(&self, choices: &mut [u16], by: &mut dyn Chooser) -> Result<(), SpaceError> {
        self.walk_scope(&self.root, choices, by)?;
        if !self.recipe.is_empty() {
            by.separate('+');
        }
        walk_settings(&self.recipe, choices, by)
    }

    fn walk_scope(
        &self,
        scope: &Scope,
        choices: &mut [u16],
        by: &mut dyn Chooser,
    ) -> Result<(), SpaceError> {
        for bound in &scope.lets {
            match bound {
                Bound::Value(value) => value.walk(choices, by)?,
                Bound::Layers(fragment) => {
                    self.walk_seq(&self.fragments[*fragment], choices, by)?;
                }
            }
        }
        self.walk_seq(&scope.body, choices, by)
    }

    pub(crate) fn walk_seq(
        &self,
        seq: &Seq,
        choices: &mut [u16],
        by: &mut dyn Chooser,
    ) -> Result<(), SpaceError> {
        seq.iter()
            .try_for_each(|item| self.walk_item(item, choices, by))
    }

    pub(crate) fn walk_item(
        &self,
        item: &Item,
        choices: &mut [u16],
        by: &mut dyn Chooser,
    ) -> Result<(), SpaceError> {
        {
            match &item.kind {
                Kind::Op(_, args) => {
                    for (_, value) in args {
                        value.walk(choices, by)?;
                    }
                }
                Kind::OneOf(slot, options) => {
                    let i = by.choose(*slot, options.len())?;
                    choices[*slot] = i;
                    if let Some(option) = options.get(usize::from(i)) {
                        self.walk_seq(option, choices, by)?;
                    }
                }
                Kind::Repeat(times, bodies) => {
                    times.walk(choices, by)?;
                    let n = times.times(choices, &item.pos)?;
                    for (i, body) in bodies.iter().take(n).enumerate() {
                        if i > 0 {
                            by.separate('/');
                        }
                        self.walk_seq(body, choices, by)?;
                    }
                }
                Kind::Scope(scope) => {
                    by.separate('.');
                    self.walk_scope(scope, choices, by)?;
                }
                // The choices of a name are made where it is bound.
                Kind::Use(_) => {}
                Kind::Residual(seq) => self.walk_seq(seq, choices, by)?,
                Kind::Branches(_, all) => {
                    for seq in all {
                        self.walk_seq(seq, choices, by)?;
                    }
                }
                Kind::Dag(graph) => self.walk_graph(graph, choices, by)?,
                Kind::Cells(stack) => {
                    stack.channels.walk(choices, by)?;
                    for (_, _, graph) in &stack.kinds {
                        by.separate('.');
                        self.walk_graph(graph, choices, by)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn walk_graph(
        &self,
        graph: &Graph,
        choices: &mut [u16],
        by: &mut dyn Chooser,
    ) -> Result<(), SpaceError> {
        for edge in &graph.edges {
            if let Some(op) = &edge.op {
                op.walk(self, choices, by)?;
            }
        }
        for pick in &graph.picks {
            if let Some(slot) = pick.slot {
                choices[slot] = by.choose(slot, pick.sets.len())?;
            }
            for op in &pick.ops {
                op.walk(self, choices, by)?;
            }
        }
        for op in &graph.node_ops {
            op.walk(self, choices, by)?;
        }
        Ok(())
    }

    /// Whether a part uses layers that a name stands for.
    pub(crate) fn uses(&self, item: &Item) -> bool {
        let any = |seq: &Seq| seq.iter().any(|item| self.uses(item));
        match &item.kind {
            Kind::Op(..) => false,
            Kind::Use(_) => true,
            Kind::OneOf(_, all) | Kind::Repeat(_, all) | Kind::Branches(_, all) => {
                all.iter().any(any)
            }
            Kind::Scope(scope) => any(&scope.body),
            Kind::Residual(seq) => any(seq),
            Kind::Dag(graph) => self.graph_uses(graph),
            Kind::Cells(stack) => stack.kinds.iter().any(|(.., graph)| self.graph_uses(graph)),
        }
    }

    fn graph_uses(&self, graph: &Graph) -> bool {
        let edges = graph.edges.iter().filter_map(|edge| edge.op.as_ref());
        let picked = graph.picks.iter().flat_map(|pick| &pick.ops);
        let mut all = edges.chain(picked).chain(&graph.node_ops);
        all.any(|op| op.options.iter().flatten().any(|item| self.uses(item)))
    }

    /// Whether the conditions hold.
    pub(crate) fn meets_conditions(&self, choices: &[u16]) -> Result<bool, SpaceError> {
        for (_, pos, expr, names) in &self.conditions {
            let value = Val::Expr(expr.clone(), names.clone(), pos.clone()).value(choices)?;
            if value != Lit::Bool(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The settings that the choices say.
    pub(crate) fn settings(
        &self,
        choices: &[u16],
    ) -> Result<std::collections::BTreeMap<String, RecipeValue>, SpaceError> {
        let mut all = std::collections::BTreeMap::new();
        settings(&self.recipe, choices, &mut all)?;
        Ok(all)
    }
}

fn settings(
    list: &[Setting],
    choices: &[u16],
    into: &mut std::collections::BTreeMap<String, RecipeValue>,
) -> Result<(), SpaceError> {
    for setting in list {
        match setting {
            Setting::Value(key, value) => {
                let value = match value.value(choices)? {
                    Lit::Bool(v) => RecipeValue::Bool(v),
                    Lit::Int(v) => RecipeValue::Int(v),
                    Lit::Float(v) => RecipeValue::Float(v),
                    Lit::Text(v) => RecipeValue::Text(v),
                    list @ Lit::List(_) => RecipeValue::Text(list.to_string()),
                };
                into.insert(key.clone(), value);
            }
            Setting::Int(key, slot, lo, step) => {
                let value = lo + step * i64::from(choices[*slot]);
                into.insert(key.clone(), RecipeValue::Int(value));
            }
            Setting::Float(key, slot, lo, hi, log) => {
                let share = f64::from(choices[*slot]) / f64::from(FLOAT_STEPS);
                let value = match log {
                    true => (lo.ln() + share * (hi.ln() - lo.ln()))
                        .exp()
                        .clamp(*lo, *hi),
                    false => lo + share * (hi - lo),
                };
                into.insert(key.clone(), RecipeValue::Float(value));
            }
            Setting::OneOf(slot, options) => {
                if let Some(option) = options.get(usize::from(choices[*slot])) {
                    settings(option, choices, into)?;
                }
            }
        }
    }
    Ok(())
}

fn walk_settings(
    list: &[Setting],
    choices: &mut [u16],
    by: &mut dyn Chooser,
) -> Result<(), SpaceError> {
    for setting in list {
        match setting {
            Setting::Value(_, value) => value.walk(choices, by)?,
            Setting::Int(_, slot, _, _) | Setting::Float(_, slot, ..) => {
                // A range has as many options as the slot says, which the chooser knows.
                choices[*slot] = by.choose(*slot, 0)?;
            }
            Setting::OneOf(slot, options) => {
                let i = by.choose(*slot, options.len())?;
                choices[*slot] = i;
                if let Some(option) = options.get(usize::from(i)) {
                    walk_settings(option, choices, by)?;
                }
            }
        }
    }
    Ok(())
}

#[derive(Clone)]
enum Meaning {
    Value(Arc<Val>),
    Layers(usize),
}

struct Grower<'a> {
    catalog: &'a OpCatalog,
    slots: Vec<Slot>,
    fragments: Vec<Seq>,
    /// Names in sight, the innermost last; whether something used them.
    names: Vec<(String, Meaning, Pos, bool)>,
    /// Names of stages that every member has, for conditions.
    stages: HashMap<String, Val>,
    stage_ids: Vec<String>,
    unused: Vec<(String, Pos)>,
    layers: usize,
    options: usize,
    place: Vec<String>,
    /// Whether every member has what is being grown.
    always: bool,
    classes: usize,
}

/// Numbers in ids: digits end where the next choice's letter begins.
fn tokens(options: &[Lit]) -> Vec<String> {
    let whole = options.iter().all(|o| matches!(o, Lit::Int(n) if *n >= 0));
    let truth = options.iter().all(|o| matches!(o, Lit::Bool(_)));
    let mut seen = std::collections::BTreeSet::new();
    let distinct = options.iter().all(|o| seen.insert(o.to_string()));
    match () {
        () if whole && distinct => options.iter().map(ToString::to_string).collect(),
        () if truth && distinct => {
            let word = |o: &Lit| if *o == Lit::Bool(true) { "t" } else { "f" };
            options.iter().map(|o| word(o).to_owned()).collect()
        }
        () => indices(options.len()),
    }
}

/// One character for each option, where there are few.
fn indices(n: usize) -> Vec<String> {
    let short = "0123456789abcdefghijklmnopqrstuvwxyz";
    match n <= short.len() {
        true => short.chars().take(n).map(String::from).collect(),
        false => (0..n).map(|i| i.to_string()).collect(),
    }
}

impl Grower<'_> {
    fn here(&self, last: &str) -> String {
        let mut text = String::new();
        for part in self.place.iter().map(String::as_str).chain([last]) {
            if !text.is_empty() && !part.starts_with('[') && !part.is_empty() {
                text.push('.');
            }
            text.push_str(part);
        }
        text
    }

    fn within<T>(&mut self, part: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        self.place.push(part.to_owned());
        let result = then(self);
        self.place.pop();
        result
    }

    fn maybe<T>(&mut self, then: impl FnOnce(&mut Self) -> T) -> T {
        let always = std::mem::replace(&mut self.always, false);
        let result = then(self);
        self.always = always;
        result
    }

    fn slot(
        &mut self,
        place: String,
        pos: &Pos,
        options: Vec<String>,
        tokens: Vec<String>,
        letter: Option<char>,
    ) -> usize {
        self.options += options.len();
        self.slots.push(Slot {
            place,
            pos: pos.clone(),
            options,
            tokens,
            letter,
            is_edge: false,
            is_recipe: false,
        });
        self.slots.len() - 1
    }

    fn name(&mut self, name: &str) -> Option<Meaning> {
        if name == "classes" {
            let classes = Lit::Int(i64::try_from(self.classes).ok()?);
            return Some(Meaning::Value(Arc::new(Val::Lit(classes))));
        }
        let found = self
            .names
            .iter_mut()
            .rev()
            .find(|(known, ..)| known == name)?;
        found.3 = true;
        Some(found.1.clone())
    }

    fn unknown(&self, name: &str, pos: &Pos) -> SpaceError {
        let known = self.names.iter().map(|(name, ..)| name.as_str());
        let known: Vec<&str> = known.chain(["classes"]).collect();
        let hint = suggest(name, known.iter().copied());
        SpaceError::at(pos, format!("there is no name `${name}` here; {hint}"))
    }

    fn value_of(&mut self, name: &str, pos: &Pos) -> Result<Val, SpaceError> {
        match self.name(name) {
            Some(Meaning::Value(value)) => Ok(Val::Ref(value)),
            Some(Meaning::Layers(_)) => Err(SpaceError::at(
                pos,
                format!("`${name}` stands for layers, but a value is expected here"),
            )),
            None => Err(self.unknown(name, pos)),
        }
    }

    /// A value at a place called `what`.
    fn value(&mut self, value: &Value, what: &str) -> Result<Val, SpaceError> {
        let pos = &value.pos;
        Ok(match &value.kind {
            ValueKind::Lit(lit) => Val::Lit(lit.clone()),
            ValueKind::Name(name) => self.value_of(name, pos)?,
            ValueKind::Expr(expr) => {
                let mut names = Vec::new();
                for name in expr.names() {
                    if !names.iter().any(|(known, _)| known == name) {
                        names.push((name.to_owned(), self.value_of(name, pos)?));
                    }
                }
                Val::Expr(expr.clone(), names, pos.clone())
            }
            ValueKind::OneOf(options) => {
                let fixed: Option<Vec<Lit>> = options
                    .iter()
                    .map(|(label, option)| match (&option.kind, label) {
                        (ValueKind::Lit(lit), None) => Some(lit.clone()),
                        _ => None,
                    })
                    .collect();
                let tokens = fixed.map_or_else(|| indices(options.len()), |lits| tokens(&lits));
                let names = options
                    .iter()
                    .map(|(label, option)| match (label, &option.kind) {
                        (Some(label), _) => label.clone(),
                        (None, ValueKind::Lit(lit)) => lit.to_string(),
                        (None, ValueKind::Name(name)) => format!("${name}"),
                        (None, _) => "…".to_owned(),
                    });
                let names: Vec<String> = names.collect();
                let slot = self.slot(self.here(what), pos, names, tokens, letter(what));
                let mut values = Vec::new();
                for (label, option) in options {
                    let label = label.as_deref().unwrap_or("");
                    let inner = match label {
                        "" => what.to_owned(),
                        label => format!("{what}.{label}"),
                    };
                    values.push(self.maybe(|g| g.value(option, &inner))?);
                }
                Val::Choice(slot, values)
            }
            ValueKind::Subset(of, size) => {
                let sets: Vec<Lit> = subsets(of.len(), *size)
                    .into_iter()
                    .map(|set| Lit::List(set.into_iter().map(|i| of[i].clone()).collect()))
                    .collect();
                if sets.len() > usize::from(u16::MAX) {
                    return Err(SpaceError::at(pos, "a choice of more than 65,535 subsets"));
                }
                let names = sets.iter().map(ToString::to_string).collect();
                let tokens = indices(sets.len());
                let slot = self.slot(self.here(what), pos, names, tokens, letter(what));
                Val::Choice(slot, sets.into_iter().map(Val::Lit).collect())
            }
        })
    }

    fn args(&mut self, op: &str, pos: &Pos, args: &Args) -> Result<Vec<(String, Val)>, SpaceError> {
        let Some(known) = ops::arguments(op, self.catalog) else {
            let names = ops::names(self.catalog);
            let all = || names.iter().copied().chain(constructs().iter().copied());
            let near = archai_spec::names::did_you_mean(&archai_spec::names::similar(op, all()));
            let hint = near.unwrap_or_else(|| {
                "`archai ops` lists those of the catalogue, `archai space ops` those of the language".to_owned()
            });
            return Err(SpaceError::at(
                pos,
                format!("there is no op `{op}`; {hint}"),
            ));
        };
        let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
        let mut values = Vec::new();
        for (name, value) in args {
            if !known.contains(name) {
                let hint = match known.is_empty() {
                    true => "it has none".to_owned(),
                    false => suggest(name, known.iter().map(String::as_str)),
                };
                return Err(SpaceError::at(
                    &value.pos,
                    format!("unknown argument `{name}` of `{op}`; {hint}"),
                ));
            }
            let grown = self.within(op, |g| g.value(value, name))?;
            for possible in possible(&grown)? {
                ops::check_value(op, name, &possible, self.catalog)
                    .map_err(|e| SpaceError::at(&value.pos, e))?;
            }
            values.push((name.clone(), grown));
        }
        Ok(values)
    }

    fn layers(&mut self, layers: &[Layer]) -> Result<Seq, SpaceError> {
        SpaceError::all(layers.iter().map(|layer| self.layer(layer)))
    }

    fn layer(&mut self, layer: &Layer) -> Result<Item, SpaceError> {
        self.layers += 1;
        let pos = &layer.pos;
        if self.layers > MAX_LAYERS || self.slots.len() > MAX_SLOTS || self.options > MAX_OPTIONS {
            return Err(SpaceError::at(
                pos,
                format!(
                    "once repetitions are written out, the space has more than {MAX_LAYERS} layers, {MAX_SLOTS} choices or {MAX_OPTIONS} options"
                ),
            ));
        }
        let kind = match &layer.kind {
            LayerKind::Op(op, args) => Kind::Op(op.clone(), self.args(op, pos, args)?),
            LayerKind::Name(name) => match self.name(name) {
                Some(Meaning::Layers(fragment)) => Kind::Use(fragment),
                Some(Meaning::Value(_)) => {
                    return Err(SpaceError::at(
                        pos,
                        format!("`${name}` stands for a value, but a layer is expected here"),
                    ));
                }
                None => return Err(self.unknown(name, pos)),
            },
            LayerKind::OneOf(options) => {
                let labels: Vec<String> = options.iter().map(|(label, _)| label.clone()).collect();
                let tokens = indices(options.len());
                let slot = self.slot(self.here("one_of"), pos, labels, tokens, None);
                let options = options
                    .iter()
                    .map(|(label, layers)| self.maybe(|g| g.within(label, |g| g.layers(layers))));
                Kind::OneOf(slot, SpaceError::all(options)?)
            }
            LayerKind::Repeat { times, body } => {
                let (times, bodies) = self.repeat(pos, times, &Args::new(), body, "repeat")?;
                Kind::Repeat(times, bodies)
            }
            LayerKind::Stage(stage) => {
                if self.stage_ids.contains(&stage.id) && self.always {
                    return Err(SpaceError::at(
                        pos,
                        format!(
                            "there is a stage `{}` already; give it another `id`",
                            stage.id
                        ),
                    ));
                }
                self.stage_ids.push(stage.id.clone());
                let scope = self.within(&stage.id.clone(), |g| {
                    g.scope(&stage.lets, Some(&stage.id), |g| {
                        let (times, bodies) =
                            g.repeat(pos, &stage.times, &stage.first, &stage.body, "")?;
                        if g.always {
                            let shared = Val::Ref(Arc::new(times.clone()));
                            g.stages.insert(format!("{}.times", stage.id), shared);
                        }
                        Ok(vec![Item {
                            pos: pos.clone(),
                            kind: Kind::Repeat(times, bodies),
                        }])
                    })
                })?;
                Kind::Scope(scope)
            }
            LayerKind::Residual(layers) => {
                Kind::Residual(self.within("residual", |g| g.layers(layers))?)
            }
            LayerKind::Branches { add, of } => {
                let branches = of
                    .iter()
                    .enumerate()
                    .map(|(i, layers)| self.within(&format!("branch{i}"), |g| g.layers(layers)));
                Kind::Branches(*add, SpaceError::all(branches)?)
            }
            LayerKind::Dag(dag) => Kind::Dag(self.graph(pos, dag)?),
            LayerKind::Cells(cells) => Kind::Cells(self.cells(pos, cells)?),
        };
        Ok(Item {
            pos: pos.clone(),
            kind,
        })
    }

    fn scope(
        &mut self,
        lets: &[Let],
        stage: Option<&str>,
        body: impl FnOnce(&mut Self) -> Result<Seq, SpaceError>,
    ) -> Result<Scope, SpaceError> {
        let outer = self.names.len();
        let mut bounds = Vec::new();
        for binding in lets {
            let (bound, meaning) = match &binding.binding {
                Binding::Value(value) => {
                    let value = Arc::new(self.value(value, &binding.name)?);
                    if let Some(stage) = stage.filter(|_| self.always) {
                        let key = format!("{stage}.{}", binding.name);
                        self.stages.insert(key, Val::Ref(value.clone()));
                    }
                    (Bound::Value(value.clone()), Meaning::Value(value))
                }
                Binding::Layers(layers) => {
                    let seq = self.within(&binding.name, |g| g.layers(layers))?;
                    self.fragments.push(seq);
                    let fragment = self.fragments.len() - 1;
                    (Bound::Layers(fragment), Meaning::Layers(fragment))
                }
            };
            bounds.push(bound);
            self.names
                .push((binding.name.clone(), meaning, binding.pos.clone(), false));
        }
        let body = body(self)?;
        for (name, _, pos, used) in self.names.split_off(outer) {
            if !used {
                self.unused.push((name, pos));
            }
        }
        Ok(Scope { lets: bounds, body })
    }

    fn repeat(
        &mut self,
        pos: &Pos,
        times: &Value,
        first: &Args,
        body: &[Layer],
        what: &str,
    ) -> Result<(Val, Vec<Seq>), SpaceError> {
        let name = if what.is_empty() {
            "times"
        } else {
            "repeat.times"
        };
        let grown = self.value(times, name)?;
        let mut most = 0;
        let mut least = usize::MAX;
        for value in possible(&grown)? {
            let n = self::times(&value, &times.pos)?;
            most = most.max(n);
            least = least.min(n);
        }
        let mut bodies = Vec::new();
        for i in 0..most {
            let mut layers = body.to_vec();
            if i == 0 && !first.is_empty() {
                add_first(&mut layers, first, pos)?;
            }
            let part = format!("{what}[{i}]");
            let grow = |g: &mut Self| g.within(&part, |g| g.layers(&layers));
            // A body has stages of its own once for each repetition: no condition can mean one of them.
            bodies.push(match i < least && most == 1 {
                true => grow(self)?,
                false => self.maybe(grow)?,
            });
        }
        Ok((grown, bodies))
    }

    fn edge_op(
        &mut self,
        pos: &Pos,
        part: &str,
        options: &[(String, Vec<Layer>)],
    ) -> Result<EdgeOp, SpaceError> {
        let slot = (options.len() > 1).then(|| {
            let labels: Vec<String> = options.iter().map(|(label, _)| label.clone()).collect();
            let tokens = indices(labels.len());
            let slot = self.slot(self.here(part), pos, labels, tokens, None);
            self.slots[slot].is_edge = true;
            slot
        });
        let options = options.iter().map(|(label, layers)| {
            self.maybe(|g| g.within(&format!("{part}.{label}"), |g| g.layers(layers)))
        });
        Ok(EdgeOp {
            slot,
            options: SpaceError::all(options)?,
        })
    }

    fn graph(&mut self, pos: &Pos, dag: &Dag) -> Result<Graph, SpaceError> {
        let (mut edges, mut picks, mut node_ops) = (Vec::new(), Vec::new(), Vec::new());
        let n = dag.inputs + dag.nodes;
        if let DagEdges::Pick(k) = dag.edges {
            for to in dag.inputs..n {
                let sets = subsets(to, k);
                let slot = (sets.len() > 1).then(|| {
                    let labels = sets.iter().map(|set| format!("{set:?}")).collect();
                    let tokens = indices(sets.len());
                    self.slot(
                        self.here(&format!("node{to}.inputs")),
                        pos,
                        labels,
                        tokens,
                        None,
                    )
                });
                let mut of = Vec::new();
                if !dag.on_nodes {
                    for i in 0..k {
                        of.push(self.edge_op(pos, &format!("node{to}.op{i}"), &dag.ops)?);
                    }
                }
                picks.push(Pick {
                    slot,
                    sets,
                    ops: of,
                });
            }
        } else {
            for from in 0..n {
                for to in (from + 1).max(dag.inputs)..n {
                    let part = format!("{from}-{to}");
                    edges.push(Edge {
                        from,
                        to,
                        op: match !dag.on_nodes {
                            true => Some(self.edge_op(pos, &part, &dag.ops)?),
                            false => None,
                        },
                    });
                }
            }
        }
        if dag.on_nodes {
            for node in dag.inputs..n {
                node_ops.push(self.edge_op(pos, &format!("node{node}"), &dag.ops)?);
            }
        }
        Ok(Graph {
            inputs: dag.inputs,
            nodes: dag.nodes,
            edges,
            picks,
            node_ops,
            output: dag.output,
        })
    }

    fn cells(&mut self, pos: &Pos, cells: &Cells) -> Result<CellStack, SpaceError> {
        let channels = self.value(&cells.channels, "channels")?;
        let kinds = (cells.kinds.iter()).map(|(kind, dag)| {
            if dag.inputs != 2 || dag.output == DagOutput::Unused {
                return Err(SpaceError::at(
                    pos,
                    "the graph of a cell has `inputs: 2`, and `output: concat` or `last`",
                ));
            }
            let graph = self.within(kind, |g| g.graph(pos, dag))?;
            Ok((kind.clone(), kind.starts_with("reduc"), graph))
        });
        let kinds = SpaceError::all(kinds)?;
        let index = |kind: &String| kinds.iter().position(|(known, ..)| known == kind);
        Ok(CellStack {
            channels,
            sequence: cells.sequence.iter().filter_map(index).collect(),
            kinds,
        })
    }

    fn settings(&mut self, key: &str, recipe: &Recipe) -> Result<Setting, SpaceError> {
        let pos = &recipe.pos;
        let short = key.rsplit('.').next().unwrap_or(key).to_owned();
        Ok(match &recipe.choice {
            RecipeChoice::Value(value) => Setting::Value(key.to_owned(), self.value(value, key)?),
            RecipeChoice::Int { lo, hi, step } => {
                let values: Vec<String> = (0..=(hi - lo) / step)
                    .map(|i| (lo + i * step).to_string())
                    .collect();
                let tokens = (0..values.len()).map(|i| i.to_string()).collect();
                let slot = self.slot(key.to_owned(), pos, values, tokens, letter(&short));
                Setting::Int(key.to_owned(), slot, *lo, *step)
            }
            RecipeChoice::Float { lo, hi, log } => {
                let all = 0..=FLOAT_STEPS;
                let tokens = all.clone().map(|i| i.to_string()).collect();
                let values = all
                    .map(|i| format!("{i}/{FLOAT_STEPS} of {lo} to {hi}"))
                    .collect();
                let slot = self.slot(key.to_owned(), pos, values, tokens, letter(&short));
                Setting::Float(key.to_owned(), slot, *lo, *hi, *log)
            }
            RecipeChoice::OneOf(options) => {
                let labels: Vec<String> = options.iter().map(|(label, _)| label.clone()).collect();
                let tokens = indices(labels.len());
                let slot = self.slot(key.to_owned(), pos, labels, tokens, letter(&short));
                let options = options.iter().map(|(label, option)| match option {
                    RecipeOption::Lit(lit) => {
                        Ok(vec![Setting::Value(key.to_owned(), Val::Lit(lit.clone()))])
                    }
                    RecipeOption::Section(below) => {
                        SpaceError::all(below.iter().map(|(name, recipe)| {
                            self.settings(&format!("{key}.{label}.{name}"), recipe)
                        }))
                    }
                });
                Setting::OneOf(slot, SpaceError::all(options)?)
            }
        })
    }
}

/// The letter before a choice in ids: that of its name; depth for `times`.
fn letter(what: &str) -> Option<char> {
    let name = what.rsplit('.').next()?;
    match name {
        "times" => Some('d'),
        name => name.chars().next().filter(char::is_ascii_alphabetic),
    }
}

/// Sets of `k` of the first `n` numbers, in lexical order.
pub(crate) fn subsets(n: usize, k: usize) -> Vec<Vec<usize>> {
    fn grow(n: usize, k: usize, set: &mut Vec<usize>, into: &mut Vec<Vec<usize>>) {
        // Far more than a choice may have.
        if into.len() > 1 << 17 {
            return;
        }
        if set.len() == k {
            into.push(set.clone());
            return;
        }
        for i in set.last().map_or(0, |last| last + 1)..n {
            set.push(i);
            grow(n, k, set, into);
            set.pop();
        }
    }
    let mut all = Vec::new();
    grow(n, k, &mut Vec::new(), &mut all);
    all
}

/// Adds arguments to the first layer: to every option's first where it is a choice.
fn add_first(layers: &mut [Layer], first: &Args, pos: &Pos) -> Result<(), SpaceError> {
    let Some(layer) = layers.first_mut() else {
        return Err(SpaceError::at(
            pos,
            "`first` has arguments, but the body has no layers",
        ));
    };
    match &mut layer.kind {
        LayerKind::Op(_, args) => {
            for (name, value) in first {
                match args.iter_mut().find(|(known, _)| known == name) {
                    Some((_, old)) => *old = value.clone(),
                    None => args.push((name.clone(), value.clone())),
                }
            }
            Ok(())
        }
        LayerKind::OneOf(options) => {
            for (_, layers) in options {
                add_first(layers, first, pos)?;
            }
            Ok(())
        }
        _ => Err(SpaceError::at(
            &layer.pos,
            "`first` gives arguments to the first layer of the body, which must be an op, or a choice of ops",
        )),
    }
}

/// Every value that may come out.
pub(crate) fn possible(value: &Val) -> Result<Vec<Lit>, SpaceError> {
    let mut all: Vec<Lit> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut add = |lit: Lit| {
        if seen.insert(format!("{lit:?}")) {
            all.push(lit);
        }
    };
    match value {
        Val::Lit(lit) => add(lit.clone()),
        Val::Choice(_, options) => {
            for option in options {
                possible(option)?.into_iter().for_each(&mut add);
            }
        }
        Val::Ref(inner) => return possible(inner),
        Val::Expr(expr, names, pos) => {
            let mut values = Vec::new();
            for (name, value) in names {
                values.push((name.as_str(), possible(value)?));
            }
            let n: usize = values
                .iter()
                .fold(1, |n: usize, (_, all)| n.saturating_mul(all.len()));
            if n > MAX_VALUES {
                return Err(SpaceError::at(
                    pos,
                    format!("an expression over more than {MAX_VALUES} combinations of values"),
                ));
            }
            for mut index in 0..n {
                let mut chosen = Vec::new();
                for (name, all) in &values {
                    chosen.push((*name, &all[index % all.len()]));
                    index /= all.len();
                }
                let of = |name: &str| {
                    let found = chosen.iter().find(|(known, _)| *known == name);
                    found.map_or_else(
                        || Err(format!("no `${name}`")),
                        |(_, lit)| Ok((*lit).clone()),
                    )
                };
                add(expr.value(&of).map_err(|e| SpaceError::at(pos, e))?);
            }
        }
    }
    Ok(all)
}

impl Tree {
    /// Gives every choice of a space its place.
    ///
    /// # Errors
    /// Names that stand for nothing, ops and arguments that do not exist, values that cannot be.
    pub(crate) fn grow(desc: &SpaceDesc, catalog: &OpCatalog) -> Result<Tree, SpaceError> {
        let mut grower = Grower {
            catalog,
            slots: Vec::new(),
            fragments: Vec::new(),
            names: Vec::new(),
            stages: HashMap::new(),
            stage_ids: Vec::new(),
            unused: Vec::new(),
            layers: 0,
            options: 0,
            place: Vec::new(),
            always: true,
            classes: desc.classes,
        };
        let mut conditions = Vec::new();
        let mut recipe = Vec::new();
        let root = grower.scope(&desc.lets, None, |g| {
            let body = g.layers(&desc.network)?;
            for condition in &desc.conditions {
                conditions.push(condition_of(g, condition)?);
            }
            let first = g.slots.len();
            for (key, choice) in &desc.recipe {
                recipe.push(g.settings(key, choice)?);
            }
            for slot in &mut g.slots[first..] {
                slot.is_recipe = true;
            }
            Ok(body)
        })?;
        if grower.slots.len() > MAX_SLOTS {
            return Err(SpaceError::new(format!(
                "`{}` has {} choices; expected at most {MAX_SLOTS}",
                desc.name,
                grower.slots.len()
            )));
        }
        Ok(Tree {
            slots: grower.slots,
            fragments: grower.fragments,
            root,
            recipe,
            conditions,
            layers: grower.layers,
            unused: grower.unused,
        })
    }
}

/// Text, place, expression, and what its names stand for.
pub(crate) type GrownCondition = (String, Pos, Expr, Vec<(String, Val)>);

fn condition_of(
    g: &mut Grower<'_>,
    condition: &super::desc::Condition,
) -> Result<GrownCondition, SpaceError> {
    let pos = &condition.pos;
    let mut names: Vec<(String, Val)> = Vec::new();
    for name in condition.expr.names() {
        if names.iter().any(|(known, _)| known == name) {
            continue;
        }
        let value = match g.stages.get(name) {
            Some(value) => value.clone(),
            None if name.contains('.') => {
                let known: Vec<String> = g.stages.keys().cloned().collect();
                let hint = suggest(name, known.iter().map(String::as_str));
                return Err(SpaceError::at(
                    pos,
                    format!(
                        "a condition sees the names of the space and of stages that every member has once; `${name}` is none of them; {hint}"
                    ),
                ));
            }
            None => g.value_of(name, pos)?,
        };
        names.push((name.to_owned(), value));
    }
    if names.is_empty() {
        return Err(SpaceError::at(
            pos,
            format!("`{}` names no choice; names begin with `$`", condition.text),
        ));
    }
    Ok((
        condition.text.clone(),
        pos.clone(),
        condition.expr.clone(),
        names,
    ))
}
