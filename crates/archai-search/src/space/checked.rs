//! A space that was read or built, with every member checked: [`Space`].

use std::collections::{BTreeMap, BTreeSet};

use archai_spec::config::Schema;
use archai_spec::desc::{Cost, ModelDesc, OpCatalog};
use archai_spec::rng::{Key, Rng};
use num_bigint::BigUint;

use super::check::{Checked, check};
use super::compile::{Compiler, Measures};
use super::desc::{Recipe, RecipeChoice, RecipeOption, SpaceDesc};
use super::hash;
use super::tree::{Chooser, Graph, Item, Kind, NONE, Seq, Slot, Tree};
use super::{Features, MAX_ENUMERATED, Member, RecipeValue, SearchSpace, SpaceError, yaml};

/// How often a random member is drawn until conditions are met.
const TRIES: u64 = 10_000;
/// Layers of all networks together by which it is judged whether a choice matters; of larger spaces it is not judged.
const JUDGED_LAYERS: usize = 2_000_000;
/// Random members by which it is judged whether a choice matters.
const JUDGES: u64 = 24;

/// A space of the language. Every member has been checked: it can be built, and what [`Report`] says holds for all.
///
/// ```
/// use archai_search::space::{SearchSpace, Space};
/// let space = Space::parse("tiny.yaml", "
/// space: tiny
/// version: 1
/// input: {channels: 3, size: [8, 8]}
/// classes: 10
/// network:
///   - conv_bn: {out: {one_of: [8, 16]}, kernel: {one_of: [1, 3]}, act: relu}
///   - pool
///   - linear: {out: $classes}
/// ")?;
/// assert_eq!(space.size().unwrap().to_string(), "4");
/// assert_eq!(space.report().params, [8 * 3 + 16 + 90, 16 * 27 + 32 + 170]);
/// let member = space.parse_id("tiny-o16k3")?;
/// assert_eq!(space.costs(&member)?.params, 16 * 27 + 32 + 170);
/// # Ok::<(), archai_search::space::SpaceError>(())
/// ```
#[derive(Debug)]
pub struct Space {
    desc: SpaceDesc,
    tree: Tree,
    measures: Measures,
    checked: Checked,
    report: Report,
}

/// What holds for all members of a space.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many members there are.
    pub members: BigUint,
    /// How many there would be without conditions.
    pub without_conditions: BigUint,
    /// Whether the figures take conditions into account; where those are too many to try, figures are of all.
    pub exact: bool,
    /// Choices, each at its own place.
    pub choices: usize,
    /// Fewest and most parameters.
    pub params: [u64; 2],
    /// Fewest and most multiply-adds.
    pub macs: [u64; 2],
    /// A member with the fewest parameters.
    pub smallest: Member,
    /// A member with the most parameters.
    pub largest: Member,
    /// A member with the fewest multiply-adds.
    pub cheapest: Member,
    /// A member with the most multiply-adds.
    pub dearest: Member,
    /// How many mixed edges a supernet of the space has, or why there is no such supernet.
    pub one_shot: Result<usize, String>,
    /// What is not wrong, but hardly meant.
    pub warnings: Vec<String>,
}

/// What a limit may be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Learnt numbers.
    Params,
    /// Multiply-adds for one image.
    Macs,
}

/// A choice as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Where in the network it is: `s1[0].mbconv.kernel`.
    pub place: String,
    /// The options.
    pub options: Vec<String>,
    /// Whether it is one of the recipe, not of the network.
    pub is_recipe: bool,
}

impl Space {
    /// Reads and checks a space. `file` is its name in messages.
    ///
    /// # Errors
    /// What is wrong with the text, by place; members that cannot be built, and the simplest of them; conditions that no
    /// member meets.
    pub fn parse(file: &str, text: &str) -> Result<Space, SpaceError> {
        Space::new(yaml::read(file, text)?)
    }

    /// Checks a space.
    ///
    /// # Errors
    /// As [`Space::parse`].
    pub fn new(desc: SpaceDesc) -> Result<Space, SpaceError> {
        Space::with_ops(desc, OpCatalog::builtin())
    }

    /// Checks a space in which ops of a catalogue may stand that a program has registered ops of its own in. They take
    /// `out`, `stride` and the parameters that they list.
    ///
    /// # Errors
    /// As [`Space::parse`].
    pub fn with_ops(desc: SpaceDesc, catalog: OpCatalog) -> Result<Space, SpaceError> {
        check_recipe(&desc)?;
        let tree = Tree::grow(&desc, &catalog)?;
        match desc.network.last().map(|layer| &layer.kind) {
            Some(super::desc::LayerKind::Op(op, _)) if op == "linear" => {}
            _ => {
                let pos = desc
                    .network
                    .last()
                    .map(|l| l.pos.clone())
                    .unwrap_or_default();
                return Err(SpaceError::at(
                    &pos,
                    "a network ends in its classifier; expected `linear: {out: $classes}` as the last layer",
                ));
            }
        }
        check_cells(&tree.root.body)?;
        let measures = Measures::new(catalog);
        let checked = check(&desc.name, &tree, &measures, desc.input, desc.classes)?;
        let empty = Member::default();
        let mut space = Space {
            report: Report {
                members: checked.members.clone(),
                without_conditions: checked.all.clone(),
                exact: checked.exact,
                choices: tree.slots.len(),
                params: [checked.witnesses[1].0, checked.witnesses[2].0],
                macs: [checked.witnesses[3].0, checked.witnesses[4].0],
                smallest: empty.clone(),
                largest: empty.clone(),
                cheapest: empty.clone(),
                dearest: empty,
                one_shot: Ok(0),
                warnings: Vec::new(),
            },
            desc,
            tree,
            measures,
            checked,
        };
        let witness = |i: usize| space.completed(&space.checked.witnesses[i].1);
        let witnesses = [witness(1), witness(2), witness(3), witness(4)];
        let [smallest, largest, cheapest, dearest] = witnesses;
        space.report.smallest = smallest;
        space.report.largest = largest;
        space.report.cheapest = cheapest;
        space.report.dearest = dearest;
        for member in [&space.report.smallest, &space.report.dearest] {
            (space.compiler()).model(&Self::raw(member), space.desc.input, space.desc.classes)?;
        }
        space.report.one_shot = space.one_shot();
        space.report.warnings = space.warnings();
        Ok(space)
    }

    /// Reads a space without checking its members, for [`Space::with_ops`].
    ///
    /// # Errors
    /// What is wrong with the text, by place.
    pub fn read(file: &str, text: &str) -> Result<SpaceDesc, SpaceError> {
        yaml::read(file, text)
    }

    /// As it was written.
    pub fn desc(&self) -> &SpaceDesc {
        &self.desc
    }

    /// What holds for all members.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// All choices in the order of their places, which is that of [`Member::choices`].
    pub fn choices(&self) -> Vec<Choice> {
        let choice = |slot: &Slot| Choice {
            place: slot.place.clone(),
            options: slot.options.clone(),
            is_recipe: slot.is_recipe,
        };
        self.tree.slots.iter().map(choice).collect()
    }

    /// Whether some member keeps a limit.
    ///
    /// # Errors
    /// None does; the smallest one is named.
    pub fn check_limit(&self, quantity: Quantity, at_most: u64) -> Result<(), SpaceError> {
        let (what, least, member) = match quantity {
            Quantity::Params => ("parameters", self.report.params[0], &self.report.smallest),
            Quantity::Macs => ("multiply-adds", self.report.macs[0], &self.report.cheapest),
        };
        if least <= at_most {
            return Ok(());
        }
        Err(SpaceError::new(format!(
            "no member of `{}` has at most {at_most} {what}; the smallest has {least}: {}; raise the limit or add smaller options",
            self.desc.name,
            self.id(member)
        )))
    }

    /// How many different networks the members are, if there are few enough members to look at each.
    ///
    /// # Errors
    /// As [`SearchSpace::network_hash`].
    pub fn count_networks(&self) -> Result<Option<usize>, SpaceError> {
        let Some(members) = self.enumerate() else {
            return Ok(None);
        };
        let mut seen = BTreeSet::new();
        for member in members {
            seen.insert(self.network_hash(&member)?);
        }
        Ok(Some(seen.len()))
    }

    fn compiler(&self) -> Compiler<'_> {
        Compiler {
            tree: &self.tree,
            measures: &self.measures,
        }
    }

    /// The choices of a member, if it is one.
    fn of(&self, member: &Member) -> Result<Vec<u16>, SpaceError> {
        let n = self.tree.slots.len();
        if member.choices.len() != n {
            return Err(SpaceError::new(format!(
                "it has {} choices, but members of `{}` have {n}; it is one of another space",
                member.choices.len(),
                self.desc.name
            )));
        }
        let mut given = Given {
            tree: &self.tree,
            choices: &member.choices,
            made: 0,
        };
        let mut choices = vec![NONE; n];
        self.tree.walk(&mut choices, &mut given)?;
        if given.made != member.choices.iter().flatten().count() {
            return Err(SpaceError::new(format!(
                "it has choices that do not exist beside its other ones; it is no member of `{}`",
                self.desc.name
            )));
        }
        match self.tree.meets_conditions(&choices)? {
            true => Ok(choices),
            false => Err(SpaceError::new(format!(
                "it does not meet the conditions of `{}`",
                self.desc.name
            ))),
        }
    }

    /// Makes choices by a rule.
    fn made(&self, rule: &mut dyn FnMut(usize, u16) -> u16) -> Member {
        struct Rule<'a> {
            tree: &'a Tree,
            rule: &'a mut dyn FnMut(usize, u16) -> u16,
        }
        impl Chooser for Rule<'_> {
            fn choose(&mut self, slot: usize, _: usize) -> Result<u16, SpaceError> {
                let n = self.tree.slots[slot].options.len();
                let n = u16::try_from(n).unwrap_or(u16::MAX).max(1);
                Ok((self.rule)(slot, n).min(n - 1))
            }
        }
        let mut choices = vec![NONE; self.tree.slots.len()];
        let tree = &self.tree;
        // Every value that can come up has been tried when the space was checked.
        let _ = tree.walk(&mut choices, &mut Rule { tree, rule });
        Member {
            choices: (choices.into_iter().map(|c| (c != NONE).then_some(c))).collect(),
        }
    }

    /// The member that has these choices as far as they exist, and first options elsewhere.
    fn completed(&self, choices: &[Option<u16>]) -> Member {
        self.made(&mut |slot, _| choices.get(slot).copied().flatten().unwrap_or(0))
    }

    fn raw(member: &Member) -> Vec<u16> {
        member.choices.iter().map(|c| c.unwrap_or(NONE)).collect()
    }

    fn is_allowed(&self, member: &Member) -> bool {
        self.tree.conditions.is_empty()
            || (self.tree.meets_conditions(&Self::raw(member))).unwrap_or(false)
    }

    fn random(&self, rng: &mut Rng) -> Member {
        self.made(&mut |_, n| rng.uniform_u32_below(u32::from(n)) as u16)
    }

    fn warnings(&self) -> Vec<String> {
        let mut all = self.checked.warnings.clone();
        for (name, pos) in &self.tree.unused {
            all.push(format!("{pos}nothing uses `${name}`; remove it, or use it"));
        }
        let mut seen = BTreeSet::new();
        for slot in &self.tree.slots {
            let name = slot.place.rsplit('.').next().unwrap_or_default();
            let mut known = BTreeMap::new();
            for (i, option) in slot.options.iter().enumerate() {
                let first = *known.entry(option).or_insert(i);
                if first < i {
                    let text = format!(
                        "{}options {first} and {i} of `{name}` are equal: {option}",
                        slot.pos
                    );
                    if !option.contains('…') && seen.insert(text.clone()) {
                        all.push(text);
                    }
                }
            }
            if slot.options.len() == 1 {
                let text = format!("{}`{name}` is a choice of one option", slot.pos);
                if seen.insert(text.clone()) {
                    all.push(text);
                }
            }
        }
        all.extend(self.idle());
        all
    }

    /// Choices that changed no network of a random sample.
    fn idle(&self) -> Vec<String> {
        let mut matters: BTreeMap<String, (bool, u32)> = BTreeMap::new();
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        let key = Key::new(0).with("choices without influence");
        let mut left = (JUDGED_LAYERS / self.tree.layers.max(1)).min(5000);
        for i in 0..JUDGES {
            let mut rng = key.with(i).rng();
            let member = self.random(&mut rng);
            let hash = |m: &Member| {
                let (desc, _) = (self.compiler())
                    .model(&Self::raw(m), self.desc.input, self.desc.classes)
                    .ok()?;
                Some(hash::network_hash(&desc, &self.measures.catalog))
            };
            let mut before = None;
            for (s, slot) in self.tree.slots.iter().enumerate() {
                let Some(now) = member.choices[s].filter(|_| slot.options.len() > 1) else {
                    continue;
                };
                let place = slot.pos.to_string();
                if slot.is_recipe
                    || place.is_empty()
                    || matters.get(&place).is_some_and(|(m, n)| *m || *n > 200)
                {
                    continue;
                }
                if left == 0 {
                    return Vec::new();
                }
                left -= 1;
                let before = *before.get_or_insert_with(|| hash(&member));
                let mut other = member.clone();
                let n = slot.options.len() as u32;
                other.choices[s] =
                    Some(((u32::from(now) + 1 + rng.uniform_u32_below(n - 1)) % n) as u16);
                let other = self.completed(&other.choices);
                let entry = matters.entry(place.clone()).or_default();
                entry.0 |= hash(&other) != before;
                entry.1 += 1;
                names.entry(place).or_insert_with(|| slot.place.clone());
            }
        }
        let idle = matters.into_iter().filter(|(_, (m, _))| !m);
        idle.map(|(place, (_, n))| {
            let name = names.get(&place).map_or("", String::as_str);
            format!("{place}the choice `{name}` changed no network in {n} random trials")
        })
        .collect()
    }

    /// Mixed edges of a supernet, or why there is none.
    fn one_shot(&self) -> Result<usize, String> {
        let mut found = BTreeSet::new();
        let mut edges = 0;
        for seq in self.tree.fragments.iter().chain([&self.tree.root.body]) {
            graphs(seq, &mut |graph| edges += mixed_edges(graph, &mut found));
        }
        for (s, slot) in self.tree.slots.iter().enumerate() {
            if !slot.is_recipe && !found.contains(&s) {
                let line = slot
                    .pos
                    .line()
                    .map(|n| format!(" at line {n}"))
                    .unwrap_or_default();
                return Err(format!(
                    "the choice `{}`{line} is none among the ops of a graph's edges",
                    slot.place
                ));
            }
        }
        match edges {
            0 => Err("it has no graph whose edges are choices".to_owned()),
            n => Ok(n),
        }
    }
}

/// All graphs of layers.
fn graphs<'a>(seq: &'a Seq, on: &mut dyn FnMut(&'a Graph)) {
    for item in seq {
        match &item.kind {
            Kind::Dag(graph) => on(graph),
            Kind::Cells(stack) => stack.kinds.iter().for_each(|(.., graph)| on(graph)),
            Kind::OneOf(_, all) | Kind::Repeat(_, all) | Kind::Branches(_, all) => {
                all.iter().for_each(|seq| graphs(seq, on));
            }
            Kind::Scope(scope) => graphs(&scope.body, on),
            Kind::Residual(seq) => graphs(seq, on),
            Kind::Op(..) | Kind::Use(_) => {}
        }
    }
}

/// Edges of a graph that are choices of single ops; their slots and those of which states are read.
fn mixed_edges(graph: &Graph, slots: &mut BTreeSet<usize>) -> usize {
    let mut edges = 0;
    for edge in &graph.edges {
        if let Some(slot) = edge.op.as_ref().and_then(|op| op.slot) {
            slots.insert(slot);
            edges += 1;
        }
    }
    for (n, pick) in graph.picks.iter().enumerate() {
        slots.extend(pick.slot);
        slots.extend(pick.ops.iter().filter_map(|op| op.slot));
        if pick.ops.iter().any(|op| op.slot.is_some()) {
            edges += graph.inputs + n;
        }
    }
    edges
}

/// Cells of two inputs stand in the network itself, after at most one op.
fn check_cells(body: &Seq) -> Result<(), SpaceError> {
    fn within(seq: &[Item]) -> Option<&Item> {
        seq.iter().find_map(|item| match &item.kind {
            Kind::Cells(_) => Some(item),
            Kind::OneOf(_, all) | Kind::Repeat(_, all) | Kind::Branches(_, all) => {
                all.iter().find_map(|seq| within(seq))
            }
            Kind::Scope(scope) => within(&scope.body),
            Kind::Residual(seq) => within(seq),
            Kind::Op(..) | Kind::Use(_) | Kind::Dag(_) => None,
        })
    }
    let is_cells = |item: &Item| matches!(item.kind, Kind::Cells(_));
    let after_stem = matches!(body.first().map(|item| &item.kind), Some(Kind::Op(..)));
    let rest = match body.iter().position(is_cells) {
        Some(0) => &body[1..],
        Some(1) if after_stem => &body[2..],
        _ => body,
    };
    match rest
        .iter()
        .find_map(|item| within(std::slice::from_ref(item)))
    {
        None => Ok(()),
        Some(item) => Err(SpaceError::at(
            &item.pos,
            "`cells` read the two outputs before them: they stand in the network itself, once, with at most one op, the stem, \
             before them",
        )),
    }
}

/// Recipes name settings of the evaluation.
fn check_recipe(desc: &SpaceDesc) -> Result<(), SpaceError> {
    if desc.recipe.is_empty() {
        return Ok(());
    }
    let schema = Schema::settings();
    fn keys(schema: &Schema, key: &str, recipe: &Recipe) -> Result<(), SpaceError> {
        (schema.has(&format!("nas.eval.{key}"))).map_err(|e| {
            SpaceError::at(
                &recipe.pos,
                format!("`{key}` is no setting of the evaluation (`nas.eval.{key}`): {e}"),
            )
        })?;
        if let RecipeChoice::OneOf(options) = &recipe.choice {
            for (label, option) in options {
                if let RecipeOption::Section(below) = option {
                    for (name, recipe) in below {
                        keys(schema, &format!("{key}.{label}.{name}"), recipe)?;
                    }
                }
            }
        }
        Ok(())
    }
    SpaceError::all((desc.recipe.iter()).map(|(key, recipe)| keys(&schema, key, recipe)))?;
    Ok(())
}

/// Reads choices that were made, and sees to it that they are there.
struct Given<'a> {
    tree: &'a Tree,
    choices: &'a [Option<u16>],
    made: usize,
}

impl Chooser for Given<'_> {
    fn choose(&mut self, slot: usize, _: usize) -> Result<u16, SpaceError> {
        let Slot { place, options, .. } = &self.tree.slots[slot];
        self.made += 1;
        match self.choices[slot] {
            Some(i) if usize::from(i) < options.len() => Ok(i),
            Some(i) => Err(SpaceError::new(format!(
                "the choice `{place}` has {} options, but option {i} is given",
                options.len()
            ))),
            None => Err(SpaceError::new(format!("the choice `{place}` is not made"))),
        }
    }
}

/// Whether digits follow that could be taken for this choice's.
fn is_number(slot: &Slot) -> bool {
    slot.tokens.iter().any(|token| token.len() > 1)
        || slot.letter.is_some()
            && slot
                .tokens
                .iter()
                .any(|t| t.bytes().all(|b| b.is_ascii_digit()))
}

/// Writes an id.
struct Writer<'a> {
    given: Given<'a>,
    text: String,
    pending: Option<char>,
    after_number: bool,
}

fn stronger(a: Option<char>, b: char) -> char {
    let rank = |c: char| "/.+".find(c).unwrap_or(0);
    match a {
        Some(a) if rank(a) > rank(b) => a,
        _ => b,
    }
}

impl Chooser for Writer<'_> {
    fn choose(&mut self, slot: usize, n: usize) -> Result<u16, SpaceError> {
        let i = self.given.choose(slot, n)?;
        let slot = &self.given.tree.slots[slot];
        match (self.pending.take(), slot.letter) {
            (Some(c), _) if !self.text.is_empty() => self.text.push(c),
            (_, None) if self.after_number => self.text.push('_'),
            _ => {}
        }
        self.text.extend(slot.letter);
        self.text.push_str(&slot.tokens[usize::from(i)]);
        self.after_number = is_number(slot);
        Ok(i)
    }
    fn separate(&mut self, with: char) {
        self.pending = Some(stronger(self.pending, with));
    }
}

/// Reads an id.
struct Reader<'a> {
    tree: &'a Tree,
    text: &'a str,
    at: usize,
    pending: Option<char>,
    after_number: bool,
}

impl Reader<'_> {
    fn read(&mut self, c: char) -> Result<(), SpaceError> {
        match self.text[self.at..].starts_with(c) {
            true => {
                self.at += c.len_utf8();
                Ok(())
            }
            false => Err(self.problem(&format!("`{c}`"))),
        }
    }
    fn problem(&self, expected: &str) -> SpaceError {
        let rest: String = self.text[self.at..].chars().take(12).collect();
        let found = match rest.is_empty() {
            true => "it ends".to_owned(),
            false => format!("`{rest}` stands"),
        };
        SpaceError::new(format!(
            "at character {}, {found} where {expected} is expected",
            self.text[..self.at].chars().count() + 1
        ))
    }
}

impl Chooser for Reader<'_> {
    fn choose(&mut self, slot: usize, _: usize) -> Result<u16, SpaceError> {
        let slot = &self.tree.slots[slot];
        match (self.pending.take(), slot.letter) {
            (Some(c), _) if self.at > 0 => self.read(c)?,
            (_, None) if self.after_number => self.read('_')?,
            _ => {}
        }
        if let Some(letter) = slot.letter {
            self.read(letter)?;
        }
        let rest = &self.text[self.at..];
        let matching = slot
            .tokens
            .iter()
            .enumerate()
            .filter(|(_, t)| rest.starts_with(t.as_str()));
        let Some((i, token)) = matching.max_by_key(|(_, token)| token.len()) else {
            let few: Vec<&str> = slot.tokens.iter().take(12).map(String::as_str).collect();
            return Err(self.problem(&format!("one of {} (`{}`)", few.join(", "), slot.place)));
        };
        self.at += token.len();
        self.after_number = is_number(slot);
        Ok(i as u16)
    }
    fn separate(&mut self, with: char) {
        self.pending = Some(stronger(self.pending, with));
    }
}

impl SearchSpace for Space {
    fn name(&self) -> &str {
        &self.desc.name
    }

    fn fingerprint(&self) -> [u8; 32] {
        blake3::derive_key(
            "archai: search space, version 1",
            format!("{:?}", self.desc).as_bytes(),
        )
    }

    fn size(&self) -> Option<BigUint> {
        self.report.exact.then(|| self.report.members.clone())
    }

    fn sample(&self, key: Key) -> Result<Member, SpaceError> {
        for i in 0..TRIES {
            let key = if i == 0 { key } else { key.with(i) };
            let member = self.random(&mut key.rng());
            if self.is_allowed(&member) {
                return Ok(member);
            }
        }
        Err(SpaceError::new(format!(
            "of {TRIES} random members of `{}` none meets its conditions; make them easier to meet",
            self.desc.name
        )))
    }

    fn neighbours(&self, member: &Member) -> Vec<Member> {
        let mut all = Vec::new();
        for (s, choice) in member
            .choices
            .iter()
            .enumerate()
            .take(self.tree.slots.len())
        {
            let Some(now) = choice else { continue };
            for option in 0..self.tree.slots[s].options.len() {
                let Ok(option) = u16::try_from(option) else {
                    break;
                };
                if option == *now {
                    continue;
                }
                let mut changed = member.choices.clone();
                changed[s] = Some(option);
                let changed = self.completed(&changed);
                if self.is_allowed(&changed) {
                    all.push(changed);
                }
            }
        }
        all
    }

    fn mutate(&self, member: &Member, key: Key) -> Option<Member> {
        // Each neighbour is as likely as the next, without listing them.
        let options = |(s, choice): (usize, &Option<u16>)| {
            let n = self.tree.slots.get(s)?.options.len();
            choice.filter(|_| n > 1).map(|now| (s, now, (n - 1) as u32))
        };
        let places: Vec<(usize, u16, u32)> = member
            .choices
            .iter()
            .enumerate()
            .filter_map(options)
            .collect();
        let total: u32 = places.iter().map(|(.., n)| n).sum();
        if total == 0 {
            return None;
        }
        for i in 0..64u64 {
            let mut at = key.with(i).rng().uniform_u32_below(total);
            let mut changed = member.choices.clone();
            for &(s, now, n) in &places {
                if at < n {
                    let option = at as u16;
                    changed[s] = Some(if option >= now { option + 1 } else { option });
                    break;
                }
                at -= n;
            }
            let changed = self.completed(&changed);
            if self.is_allowed(&changed) {
                return Some(changed);
            }
        }
        let mut all = self.neighbours(member);
        let n = u32::try_from(all.len()).ok().filter(|n| *n > 0)?;
        Some(all.swap_remove(key.rng().uniform_u32_below(n) as usize))
    }

    fn crossover(&self, a: &Member, b: &Member, key: Key) -> Member {
        for i in 0..64u64 {
            let mut rng = key.with(i).rng();
            let get = |m: &Member, slot: usize| m.choices.get(slot).copied().flatten();
            let child = self.made(&mut |slot, _| {
                let first = rng.uniform_u32_below(2) == 0;
                match (get(a, slot), get(b, slot)) {
                    (Some(x), Some(y)) => {
                        if first {
                            x
                        } else {
                            y
                        }
                    }
                    (Some(x), None) | (None, Some(x)) => x,
                    (None, None) => 0,
                }
            });
            if self.is_allowed(&child) {
                return child;
            }
        }
        a.clone()
    }

    fn features(&self, member: &Member) -> Result<Features, SpaceError> {
        let desc = self.describe(member)?;
        let mut choices = Vec::new();
        for (slot, choice) in self.tree.slots.iter().zip(&member.choices) {
            // A range is a number, and so is what it is to a surrogate.
            if slot.is_recipe && slot.options.len() > 36 {
                let top = (slot.options.len() - 1) as f32;
                choices.push(choice.map_or(0.0, |i| f32::from(i) / top));
                choices.push(f32::from(u8::from(choice.is_none())));
                continue;
            }
            let n = slot.options.len();
            let at = choice.map_or(n, usize::from);
            choices.extend((0..=n).map(|i| f32::from(u8::from(i == at))));
        }
        Ok(Features {
            choices,
            paths: hash::paths(&desc, &self.measures.catalog),
        })
    }

    fn id(&self, member: &Member) -> String {
        let mut writer = Writer {
            given: Given {
                tree: &self.tree,
                choices: &member.choices,
                made: 0,
            },
            text: String::new(),
            pending: None,
            after_number: false,
        };
        let name = &self.desc.name;
        let mut choices = vec![NONE; self.tree.slots.len()];
        let known = member.choices.len() == choices.len();
        match known && self.tree.walk(&mut choices, &mut writer).is_ok() {
            true => format!("{name}-{}", writer.text),
            false => format!("{name}-?"),
        }
    }

    fn parse_id(&self, id: &str) -> Result<Member, SpaceError> {
        let name = &self.desc.name;
        let wrong = |e: &SpaceError| {
            let shown: String = id.chars().take(120).collect();
            SpaceError::new(format!("`{shown}` is no id of `{name}`: {e}"))
        };
        let rest = (id.strip_prefix(name.as_str())).and_then(|rest| rest.strip_prefix('-'));
        let text = rest.ok_or_else(|| {
            wrong(&SpaceError::new(format!(
                "it does not begin with `{name}-`"
            )))
        })?;
        let mut reader = Reader {
            tree: &self.tree,
            text,
            at: 0,
            pending: None,
            after_number: false,
        };
        let mut choices = vec![NONE; self.tree.slots.len()];
        self.tree
            .walk(&mut choices, &mut reader)
            .map_err(|e| wrong(&e))?;
        if reader.at < text.len() {
            return Err(wrong(&reader.problem("the end")));
        }
        match self.tree.meets_conditions(&choices)? {
            true => Ok(Member {
                choices: choices
                    .into_iter()
                    .map(|c| (c != NONE).then_some(c))
                    .collect(),
            }),
            false => Err(wrong(&SpaceError::new(
                "it does not meet the space's conditions",
            ))),
        }
    }

    fn network_hash(&self, member: &Member) -> Result<[u8; 32], SpaceError> {
        Ok(hash::network_hash(
            &self.describe(member)?,
            &self.measures.catalog,
        ))
    }

    fn describe(&self, member: &Member) -> Result<ModelDesc, SpaceError> {
        let choices = self.of(member)?;
        let (desc, _) = (self.compiler()).model(&choices, self.desc.input, self.desc.classes)?;
        Ok(desc)
    }

    fn costs(&self, member: &Member) -> Result<Cost, SpaceError> {
        let choices = self.of(member)?;
        (self.compiler()).cost(&choices, self.desc.input, self.desc.classes)
    }

    fn recipe(&self, member: &Member) -> Result<BTreeMap<String, RecipeValue>, SpaceError> {
        self.tree.settings(&self.of(member)?)
    }

    fn enumerate(&self) -> Option<Box<dyn Iterator<Item = Member> + '_>> {
        // Members that do not meet conditions are passed over, which takes as long.
        if self.report.without_conditions > BigUint::from(MAX_ENUMERATED) {
            return None;
        }
        Some(Box::new(Members {
            space: self,
            prefix: Some(Vec::new()),
        }))
    }
}

/// Members one after the other, the last choice changing fastest.
struct Members<'a> {
    space: &'a Space,
    /// The choices that come first, with the number of their options; the others are first options.
    prefix: Option<Vec<(u16, u16)>>,
}

impl Iterator for Members<'_> {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        loop {
            let prefix = self.prefix.take()?;
            let mut made: Vec<(u16, u16)> = Vec::new();
            let member = self.space.made(&mut |_, n| {
                let i = prefix.get(made.len()).map_or(0, |(i, _)| *i);
                made.push((i, n));
                i
            });
            while let Some((i, n)) = made.pop() {
                if i + 1 < n {
                    made.push((i + 1, n));
                    self.prefix = Some(made);
                    break;
                }
            }
            if self.space.is_allowed(&member) {
                return Some(member);
            }
        }
    }
}
