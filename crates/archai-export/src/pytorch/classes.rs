//! Which modules are the same: scopes of equal layers become instances of one Python class, and the numbers in which they
//! differ become its arguments.

use std::collections::{BTreeSet, HashMap};

use archai_spec::graph::names;
use archai_spec::ops::{Activation, Layer, PoolShape};

use super::expr::{Expr, camel};
use super::layers::{Facts, Family};
use super::scope::{Scope, What};

/// What an item of a scope reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A value from outside: the argument of this number.
    Port(usize),
    /// A value of the scope itself, by its index in the graph.
    Local(usize),
}

/// How an item of a class is made.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A layer with these numbers.
    Layer(Vec<String>),
    /// A module, made so.
    Module(Expr),
}

/// A Python class.
#[derive(Clone, Debug)]
pub struct Class {
    pub name: String,
    /// What it computes, in words.
    pub doc: String,
    pub params: Vec<Param>,
    /// How many values it reads.
    pub n_ports: usize,
    /// The scope that its code is written from.
    pub scope: usize,
    /// For each item of that scope, how it is made and what it reads.
    pub pieces: Vec<Piece>,
    pub reads: Vec<Vec<Source>>,
}

/// An argument of a class.
#[derive(Clone, Debug)]
pub struct Param {
    pub name: String,
    pub family: Family,
    /// What it is if it is left out.
    pub default: Option<String>,
}

/// A value of an argument.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Arg {
    Number(usize),
    /// An instance of a class.
    Module(usize, Vec<Arg>),
}

/// A scope as an instance of a class.
#[derive(Clone, Debug)]
struct Instance {
    class: usize,
    args: Vec<Arg>,
    /// The graph's values that it reads.
    inputs: Vec<usize>,
}

/// The classes of a network, those that others need first, and the network itself.
pub struct Classes {
    pub classes: Vec<Class>,
    /// The network, of which each module is made with numbers.
    pub network: Class,
}

/// A scope before it is known what class it is of.
struct Shape {
    /// Equal for scopes of one class, but for the classes of what is inside.
    form: String,
    /// What is read from outside, once for each time that it is read.
    sites: Vec<usize>,
    /// As in [`Class::reads`], with numbers of sites.
    reads: Vec<Vec<Source>>,
}

/// Numbers in a scope that may become arguments, by item.
type Holes = Vec<Vec<(Family, Arg)>>;

struct Sorting<'a> {
    facts: &'a Facts<'a>,
    scopes: &'a [Scope],
    instances: HashMap<usize, Instance>,
    classes: Vec<Class>,
    names: BTreeSet<String>,
}

/// Names that the source has a use for.
const RESERVED: [&str; 5] = ["Names", "Network", "DropPath", "Image", "Path"];

/// Sorts scopes into classes. The first scope is the network.
pub fn sort(facts: &Facts<'_>, scopes: &[Scope]) -> Classes {
    let mut sorting = Sorting {
        facts,
        scopes,
        instances: HashMap::new(),
        classes: Vec::new(),
        names: RESERVED.map(String::from).into(),
    };
    for height in 0..scopes[0].height {
        sorting.sort_height(height);
    }
    let shape = sorting.shape(0);
    let holes = sorting.holes(0, &[]);
    let pieces = holes.iter().enumerate().map(|(i, holes)| {
        let texts = holes.iter().map(|(family, arg)| sorting.text(*family, arg));
        sorting.piece(0, i, texts.collect(), false)
    });
    let network = Class {
        name: "Network".to_string(),
        doc: String::new(),
        params: Vec::new(),
        n_ports: 1,
        scope: 0,
        pieces: pieces.collect(),
        // The image is the only value from outside.
        reads: (shape.reads.into_iter())
            .map(|reads| {
                let port = |source| match source {
                    Source::Port(_) => Source::Port(0),
                    local => local,
                };
                reads.into_iter().map(port).collect()
            })
            .collect(),
    };
    Classes {
        network,
        classes: sorting.classes,
    }
}

/// Lists of `items` that agree in `key`, in the order of their first ones.
fn groups<T: Copy, K: PartialEq>(items: &[T], key: impl Fn(T) -> K) -> Vec<Vec<T>> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for &item in items {
        let own = key(item);
        match groups.iter_mut().find(|(key, _)| *key == own) {
            Some((_, group)) => group.push(item),
            None => groups.push((own, vec![item])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

impl Sorting<'_> {
    fn shape(&self, scope: usize) -> Shape {
        let facts = self.facts;
        let mut places: HashMap<usize, usize> = HashMap::new();
        let (mut form, mut sites, mut all_reads) = (String::new(), Vec::new(), Vec::new());
        for (i, item) in self.scopes[scope].items.iter().enumerate() {
            let inputs = match item.what {
                What::Layer(layer) => {
                    form.push_str(&facts.form(layer));
                    if !facts.graph.layers[layer].params.is_empty() {
                        form.push_str(&format!(" `{}`", item.path));
                    }
                    &facts.graph.layers[layer].inputs
                }
                What::Call(inner) => {
                    form.push_str(&format!("module `{}`", item.path));
                    &self.instances[&inner].inputs
                }
            };
            let mut reads = Vec::with_capacity(inputs.len());
            for &value in inputs {
                let flat = if facts.flat[value] { " flat" } else { "" };
                match places.get(&value) {
                    Some(place) => {
                        form.push_str(&format!(" {place}{flat}"));
                        reads.push(Source::Local(value));
                    }
                    None => {
                        form.push_str(&format!(" outside{flat}"));
                        reads.push(Source::Port(sites.len()));
                        sites.push(value);
                    }
                }
            }
            form.push('\n');
            all_reads.push(reads);
            places.insert(item.output, i);
        }
        let output = places.get(&self.scopes[scope].output);
        form.push_str(&format!("gives {output:?}"));
        Shape {
            form,
            sites,
            reads: all_reads,
        }
    }

    /// The modules inside a scope: its items of that kind, and the class of each.
    fn modules(&self, scope: usize) -> Vec<(usize, usize)> {
        let items = self.scopes[scope].items.iter().enumerate();
        let class = |(i, item): (usize, &super::scope::Item)| match item.what {
            What::Call(inner) => Some((i, self.instances[&inner].class)),
            What::Layer(_) => None,
        };
        items.filter_map(class).collect()
    }

    /// The numbers of a scope. Modules at the items `given` come from outside.
    fn holes(&self, scope: usize, given: &[usize]) -> Holes {
        let items = self.scopes[scope].items.iter().enumerate();
        let of_item = |(i, item): (usize, &super::scope::Item)| match item.what {
            What::Layer(layer) => {
                let numbers = self.facts.numbers(layer).into_iter();
                numbers.map(|(f, n)| (f, Arg::Number(n))).collect()
            }
            What::Call(inner) => {
                let Instance { class, args, .. } = &self.instances[&inner];
                if given.contains(&i) {
                    return vec![(Family::Module, Arg::Module(*class, args.clone()))];
                }
                let params = self.classes[*class].params.iter();
                params.map(|p| p.family).zip(args.iter().cloned()).collect()
            }
        };
        items.map(of_item).collect()
    }

    fn sort_height(&mut self, height: usize) {
        let of_height = |i: &usize| *i > 0 && self.scopes[*i].height == height;
        let here: Vec<usize> = (0..self.scopes.len()).filter(of_height).collect();
        let shapes: HashMap<usize, Shape> = here.iter().map(|&i| (i, self.shape(i))).collect();
        let mut found: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
        for group in groups(&here, |i| shapes[&i].form.as_str()) {
            let modules: Vec<_> = group.iter().map(|&i| self.modules(i)).collect();
            let places = 0..modules[0].len();
            let differing: Vec<usize> = places
                .filter(|&m| modules.iter().any(|own| own[m].1 != modules[0][m].1))
                .map(|m| modules[0][m].0)
                .collect();
            // One or two modules of another class are handed in; cells that differ in more are written out.
            if differing.len() <= 2 && differing.len() + 2 <= modules[0].len().max(2) {
                found.push((group, differing));
            } else {
                let exact = groups(&group, |i| self.modules(i));
                found.extend(exact.into_iter().map(|group| (group, Vec::new())));
            }
        }
        let first = self.classes.len();
        for (group, given) in found {
            self.add_class(&group, &given, &shapes);
        }
        self.name_classes(first);
    }

    fn add_class(&mut self, group: &[usize], given: &[usize], shapes: &HashMap<usize, Shape>) {
        let index = self.classes.len();
        let scope = group[0];
        let holes: Vec<Holes> = group.iter().map(|&i| self.holes(i, given)).collect();
        let (params, texts, args) = self.arguments(scope, &holes);
        let ports = ports(group, shapes);
        let n_ports = ports.iter().max().map_or(0, |&most| most + 1);
        let mut texts = texts.into_iter();
        let pieces: Vec<Piece> = (holes[0].iter().enumerate())
            .map(|(i, holes)| {
                let own = texts.by_ref().take(holes.len()).collect();
                self.piece(scope, i, own, given.contains(&i))
            })
            .collect();
        let port = |source: &Source| match *source {
            Source::Port(site) => Source::Port(ports[site]),
            local => local,
        };
        let reads = shapes[&scope].reads.iter();
        let reads = reads
            .map(|reads| reads.iter().map(port).collect())
            .collect();
        self.classes.push(Class {
            name: String::new(),
            doc: self.doc(group),
            params,
            n_ports,
            scope,
            pieces,
            reads,
        });
        for (&scope, args) in group.iter().zip(args) {
            let mut inputs = vec![0; n_ports];
            for (site, &value) in shapes[&scope].sites.iter().enumerate() {
                inputs[ports[site]] = value;
            }
            let instance = Instance {
                class: index,
                args,
                inputs,
            };
            self.instances.insert(scope, instance);
        }
    }

    /// How an item is made, its numbers being these expressions.
    fn piece(&self, scope: usize, item: usize, numbers: Vec<String>, given: bool) -> Piece {
        match self.scopes[scope].items[item].what {
            What::Layer(_) => Piece::Layer(numbers),
            What::Call(_) if given => Piece::Module(Expr::atom(&numbers[0])),
            What::Call(inner) => Piece::Module(self.make(self.instances[&inner].class, &numbers)),
        }
    }

    /// `Class(args)`, defaults left out.
    fn make(&self, class: usize, args: &[String]) -> Expr {
        let Class { name, params, .. } = &self.classes[class];
        let mut call = Expr::call(name, []);
        for (param, arg) in params.iter().zip(args) {
            if param.default.as_ref() == Some(arg) {
                continue;
            }
            let arg = Expr::atom(arg);
            call = match (param.family, &mut call) {
                (Family::Channels | Family::Module, Expr::Call(_, args)) => {
                    args.push((None, arg));
                    call
                }
                _ => call.with(&param.name, arg),
            };
        }
        call
    }

    /// A value of an argument as it is written.
    fn text(&self, family: Family, arg: &Arg) -> String {
        match arg {
            Arg::Number(_) if family == Family::Classes => "N_CLASSES".to_string(),
            Arg::Number(n) => n.to_string(),
            Arg::Module(class, args) => {
                let params = self.classes[*class].params.iter();
                let args = params.zip(args).map(|(p, arg)| self.text(p.family, arg));
                let args: Vec<String> = args.collect();
                self.make(*class, &args).line()
            }
        }
    }

    /// Arguments of a class, the expression of each number, and the arguments' values in each instance. Numbers that are
    /// the same in all instances are written as they are; those that always agree with each other are one argument; channels
    /// that are always a multiple or a fraction of others are computed from them.
    fn arguments(&self, scope: usize, holes: &[Holes]) -> (Vec<Param>, Vec<String>, Vec<Vec<Arg>>) {
        let of_instance = |holes: &Holes| holes.iter().flatten().cloned().collect::<Vec<_>>();
        let flat: Vec<Vec<(Family, Arg)>> = holes.iter().map(of_instance).collect();
        let columns: Vec<(Family, Vec<&Arg>)> = (0..flat[0].len())
            .map(|h| (flat[0][h].0, flat.iter().map(|own| &own[h].1).collect()))
            .collect();
        let is_fixed = |(family, values): &(Family, Vec<&Arg>)| {
            *family == Family::Classes || values.iter().all(|v| *v == values[0])
        };
        let varying: Vec<usize> = (0..columns.len())
            .filter(|&h| !is_fixed(&columns[h]))
            .collect();
        // Numbers that always agree.
        let together = groups(&varying, |h| &columns[h]);
        let numbers = |group: &[usize]| -> Option<Vec<usize>> {
            let number = |arg: &&Arg| match arg {
                Arg::Number(n) => Some(*n),
                Arg::Module(..) => None,
            };
            columns[group[0]].1.iter().map(number).collect()
        };
        let is_channels = |g: &usize| columns[together[*g][0]].0 == Family::Channels;
        let channels: Vec<usize> = (0..together.len()).filter(is_channels).collect();
        let last = channels
            .iter()
            .copied()
            .max_by_key(|&g| together[g].iter().max());
        let bases: Vec<usize> = last.into_iter().chain(channels.first().copied()).collect();
        let mut derived: HashMap<usize, (usize, String)> = HashMap::new();
        for &g in channels.iter().filter(|g| !bases.contains(g)) {
            let Some(own) = numbers(&together[g]) else {
                continue;
            };
            for &base in &bases {
                let of = numbers(&together[base]).unwrap_or_default();
                let multiple = own[0].checked_div(of[0]).unwrap_or(0);
                let part = of[0].checked_div(own[0]).unwrap_or(0);
                let pairs = || own.iter().zip(&of);
                let how = if multiple > 1 && pairs().all(|(a, b)| *a == multiple * b) {
                    format!("{multiple} * ")
                } else if part > 1 && pairs().all(|(a, b)| a * part == *b) {
                    format!(" // {part}")
                } else {
                    continue;
                };
                derived.entry(g).or_insert((base, how));
            }
        }
        let own: Vec<usize> = (0..together.len())
            .filter(|g| !derived.contains_key(g))
            .collect();
        let names = self.argument_names(scope, holes, &columns, &together, &own);
        let mut order = own.clone();
        // Windows and steps come last and may be left out.
        order.sort_by_key(|&g| match columns[together[g][0]].0 {
            Family::Module | Family::Channels => 0,
            Family::Kernel => 1,
            _ => 2,
        });
        let mut params: Vec<Param> = Vec::new();
        for &g in &order {
            let (family, values) = &columns[together[g][0]];
            let usual = match family {
                Family::Stride | Family::Dilation | Family::Groups => Some(1),
                Family::Padding | Family::Crop => Some(0),
                _ => None,
            };
            let default = usual.filter(|&n| values.contains(&&Arg::Number(n)));
            params.push(Param {
                name: names[&g].clone(),
                family: *family,
                default: default.map(|n| n.to_string()),
            });
        }
        // Arguments without a default stand before those with one.
        let has_default: Vec<bool> = params.iter().map(|p| p.default.is_some()).collect();
        let mut positions: Vec<usize> = (0..params.len()).collect();
        positions.sort_by_key(|&p| has_default[p]);
        let params: Vec<Param> = positions.iter().map(|&p| params[p].clone()).collect();
        let order: Vec<usize> = positions.iter().map(|&p| order[p]).collect();

        let text = |h: usize| {
            let Some(g) = together.iter().position(|group| group.contains(&h)) else {
                return self.text(columns[h].0, columns[h].1[0]);
            };
            match derived.get(&g) {
                Some((base, how)) if how.starts_with(' ') => format!("{}{how}", names[base]),
                Some((base, how)) => format!("{how}{}", names[base]),
                None => names[&g].clone(),
            }
        };
        let texts = (0..columns.len()).map(text).collect();
        let args = (0..flat.len()).map(|i| {
            let value = |g: &usize| flat[i][together[*g][0]].1.clone();
            order.iter().map(value).collect()
        });
        (params, texts, args.collect())
    }

    /// Readable names of the arguments `own`, which are indices into `together`.
    fn argument_names(
        &self,
        scope: usize,
        holes: &[Holes],
        columns: &[(Family, Vec<&Arg>)],
        together: &[Vec<usize>],
        own: &[usize],
    ) -> HashMap<usize, String> {
        // Of which item each number is.
        let sizes = holes[0].iter().enumerate();
        let items: Vec<usize> = sizes.flat_map(|(i, h)| vec![i; h.len()]).collect();
        let part = |h: usize| {
            let path = &self.scopes[scope].items[items[h]].path;
            path.split('.').next().unwrap_or_default().to_string()
        };
        let of_family = |family: Family| -> Vec<usize> {
            let is = |g: &&usize| columns[together[**g][0]].0 == family;
            own.iter().filter(is).copied().collect()
        };
        let mut names: HashMap<usize, String> = HashMap::new();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let mut name = |g: usize, wish: String| {
            let wish = match super::expr::is_name(&wish) {
                true => wish,
                false => "number".to_string(),
            };
            let numbered = (2..).map(|n| format!("{wish}{n}"));
            let mut free = std::iter::once(wish.clone()).chain(numbered);
            let name = free.find(|n| !taken.contains(n)).unwrap_or(wish);
            taken.insert(name.clone());
            names.insert(g, name);
        };
        for g in of_family(Family::Module) {
            name(g, part(together[g][0]));
        }
        let channels = of_family(Family::Channels);
        // Most numbers of a cell are those of its nodes.
        let most = channels.iter().copied().max_by_key(|&g| together[g].len());
        let is_cell = self.scopes[scope].height > 0;
        let last = channels
            .iter()
            .copied()
            .max_by_key(|&g| together[g].iter().max());
        for (i, &g) in channels.iter().enumerate() {
            let wish = if channels.len() == 1 || is_cell && Some(g) == most {
                "channels".to_string()
            } else if is_cell && channels.len() > 2 {
                format!("c_{}", part(together[g][0]))
            } else if Some(g) == last {
                "c_out".to_string()
            } else if i == 0 {
                "c_in".to_string()
            } else {
                "c_mid".to_string()
            };
            name(g, wish);
        }
        for &g in own {
            let family = columns[together[g][0]].0;
            if !matches!(family, Family::Module | Family::Channels) {
                name(g, family.noun().to_string());
            }
        }
        names
    }

    /// What the last part of a scope's name is, unless it says only where it stands.
    fn op_names(&self, group: &[usize]) -> BTreeSet<String> {
        let last = |&i: &usize| self.scopes[i].path.rsplit('.').next().unwrap_or_default();
        let names = group.iter().map(last).filter(|name| place(name).is_none());
        names.map(String::from).collect()
    }

    /// What a class computes, in words.
    fn doc(&self, group: &[usize]) -> String {
        let layers = (0..self.scopes[group[0]].items.len()).map(|i| {
            let word = |&scope: &usize| match self.scopes[scope].items[i].what {
                What::Layer(layer) => Some(word(&self.facts.graph.layers[layer].layer)),
                What::Call(_) => None,
            };
            let words: Option<BTreeSet<&str>> = group.iter().map(word).collect();
            // Windows of several sizes have nothing but the noun in common.
            words.and_then(|words| match words.len() {
                1 => words.first().copied(),
                _ => Some("convolution"),
            })
        });
        let mut ops: Vec<String> = self.op_names(group).into_iter().collect();
        ops.truncate(6);
        match layers.collect::<Option<Vec<&str>>>() {
            Some(mut words) => {
                let half = words.len() / 2;
                let twice = half > 1 && words.len() == 2 * half && words[..half] == words[half..];
                words.truncate(if twice { half } else { 12 });
                let mut text = words.join(", ");
                if twice {
                    text.push_str("; twice");
                }
                let first = text.remove(0).to_uppercase();
                let used = match ops.is_empty() {
                    true => String::new(),
                    false => format!(" ({})", ops.join(", ")),
                };
                format!("{first}{text}{used}.")
            }
            None => {
                let paths = group.iter().map(|&i| self.scopes[i].path.as_str());
                let cells: Option<Vec<usize>> = paths
                    .clone()
                    .map(|p| p.strip_prefix("cell")?.parse().ok())
                    .collect();
                match cells {
                    Some(cells) => cells_doc(&cells),
                    None => {
                        let first: Vec<&str> = paths.take(4).collect();
                        let dots = if group.len() > first.len() {
                            ", …"
                        } else {
                            ""
                        };
                        format!("{}{dots}.", first.join(", "))
                    }
                }
            }
        }
    }

    /// Gives names to the classes from `first` on.
    fn name_classes(&mut self, first: usize) {
        let of_class = |class: usize| -> Vec<usize> {
            let mut scopes: Vec<usize> = (self.instances.iter())
                .filter(|(_, instance)| instance.class == class)
                .map(|(&scope, _)| scope)
                .collect();
            scopes.sort_unstable();
            scopes
        };
        let groups: Vec<Vec<usize>> = (first..self.classes.len()).map(of_class).collect();
        let wishes: Vec<String> = groups.iter().map(|group| self.wish(group)).collect();
        for (i, wish) in wishes.iter().enumerate() {
            let twins = wishes.iter().filter(|other| *other == wish).count();
            let path = &self.scopes[groups[i][0]].path;
            let digits: String = path.chars().filter(char::is_ascii_digit).collect();
            // Of several kinds of cells each is called after its first one.
            let is_cell = !path.contains('.') && !digits.is_empty();
            let wish = match is_cell && twins > 1 {
                true => format!("{wish}{digits}"),
                false => wish.clone(),
            };
            let numbered = (2..).map(|n| format!("{wish}{n}"));
            let mut free = std::iter::once(wish.clone()).chain(numbered);
            let name = free.find(|n| !self.names.contains(n)).unwrap_or(wish);
            self.names.insert(name.clone());
            self.classes[first + i].name = name;
        }
    }

    fn wish(&self, group: &[usize]) -> String {
        let scope = &self.scopes[group[0]];
        let graph = self.facts.graph;
        let ops = self.op_names(group);
        let layers: Option<Vec<&Layer>> = (scope.items.iter())
            .map(|item| match item.what {
                What::Layer(layer) => Some(&graph.layers[layer].layer),
                What::Call(_) => None,
            })
            .collect();
        let last = scope.path.rsplit('.').next().unwrap_or_default();
        match (place(last), &layers) {
            (Some(Place::Cell), _) => {
                let smaller = |&i: &usize| {
                    let input = self.instances[&i].inputs.last();
                    let height = |value: usize| graph.values[value].shape.height;
                    input.is_some_and(|&v| height(v) > height(self.scopes[i].output))
                };
                return match group.iter().all(smaller) {
                    true => "ReductionCell".to_string(),
                    false => "Cell".to_string(),
                };
            }
            (Some(Place::Named(name)), _) if ops.is_empty() => return name.to_string(),
            _ => {}
        }
        let layers = layers.unwrap_or_default();
        let kinds: Vec<&str> = layers.iter().map(|layer| kind(layer)).collect();
        let crops = layers
            .iter()
            .any(|layer| matches!(layer, Layer::Crop { .. }));
        if crops && layers.iter().any(|layer| matches!(layer, Layer::Concat)) {
            return "FactorizedReduce".to_string();
        }
        if (1..=3).contains(&kinds.len()) {
            return kinds.concat();
        }
        let without_size = |name: &String| match name.rsplit_once('_') {
            Some((name, size)) if size.chars().all(|c| c.is_ascii_digit() || c == 'x') => {
                name.to_string()
            }
            _ => name.clone(),
        };
        let stems: BTreeSet<String> = ops.iter().map(without_size).collect();
        match (stems.len(), stems.first(), ops.len()) {
            (1, Some(_), 1) => camel(ops.first().map_or("", String::as_str)),
            (1, Some(stem), _) => camel(stem),
            _ if !kinds.is_empty() && kinds.len() <= 6 => kinds.concat(),
            _ => camel(ops.first().map_or(last, String::as_str)),
        }
    }
}

/// `Cells 0–5, 7 and 9.`
fn cells_doc(cells: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &cell in cells {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == cell => *last = cell,
            _ => ranges.push((cell, cell)),
        }
    }
    let text = |(first, last): &(usize, usize)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}–{last}"),
    };
    let texts: Vec<String> = ranges.iter().map(text).collect();
    let noun = if cells.len() == 1 { "Cell" } else { "Cells" };
    format!("{noun} {}.", texts.join(", "))
}

/// Which argument each site reads: sites that read the same value in every instance share one. Older values come first.
fn ports(group: &[usize], shapes: &HashMap<usize, Shape>) -> Vec<usize> {
    let n = shapes[&group[0]].sites.len();
    let sites: Vec<usize> = (0..n).collect();
    let read =
        |site: usize| -> Vec<usize> { group.iter().map(|i| shapes[i].sites[site]).collect() };
    let mut together = groups(&sites, read);
    let n_values = |i: &&usize| {
        let values: BTreeSet<usize> = shapes[i].sites.iter().copied().collect();
        values.len()
    };
    if let Some(most) = group.iter().max_by_key(n_values) {
        together.sort_by_key(|sites| shapes[most].sites[sites[0]]);
    }
    let port = |site: usize| together.iter().position(|sites| sites.contains(&site));
    sites.iter().map(|&site| port(site).unwrap_or(0)).collect()
}

/// What a name says of where something stands.
enum Place {
    Cell,
    /// A part with a class of its own.
    Named(&'static str),
    Other,
}

fn place(name: &str) -> Option<Place> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    Some(match stem {
        "cell" => Place::Cell,
        "stem" => Place::Named("Stem"),
        "aux" => Place::Named("AuxiliaryTower"),
        names::POOL => Place::Named("Pool"),
        names::CLASSIFIER => Place::Named("Classifier"),
        "pre" | "node" | "edge" | "post" => Place::Other,
        _ => return None,
    })
}

/// A layer in a class's name.
fn kind(layer: &Layer) -> &'static str {
    match layer {
        Layer::Zero { .. } => "Zero",
        Layer::Relu => "Relu",
        Layer::Relu6 => "Relu6",
        Layer::Activation { function } => match function {
            Activation::HardSwish => "HardSwish",
            Activation::HardSigmoid => "HardSigmoid",
            Activation::Sigmoid => "Sigmoid",
            Activation::Gelu => "Gelu",
            Activation::Silu => "Silu",
        },
        Layer::Conv(_) => "Conv",
        Layer::Norm { .. } => "Norm",
        Layer::MaxPool(_) => "MaxPool",
        Layer::AvgPool { .. } => "AvgPool",
        Layer::GlobalMean => "Mean",
        Layer::Flatten => "Flatten",
        Layer::Linear { .. } => "Linear",
        Layer::Subsample { .. } => "Subsample",
        Layer::Crop { .. } | Layer::Shift => "Crop",
        Layer::TakeChannels { .. } => "Take",
        Layer::PadChannels { .. } => "Pad",
        Layer::Concat => "Concat",
        Layer::Add => "Add",
        Layer::Scale => "Scale",
        Layer::Mix { .. } => "Mix",
        Layer::DropPath => "DropPath",
        Layer::Dropout { .. } => "Dropout",
    }
}

/// A layer in a sentence.
fn word(layer: &Layer) -> &'static str {
    match layer {
        Layer::Zero { .. } => "zeros",
        Layer::Relu => "ReLU",
        Layer::Relu6 => "ReLU6",
        Layer::Activation { function } => function.title(),
        Layer::Conv(c) if c.groups > 1 && c.groups == c.c_in => "depthwise convolution",
        Layer::Conv(c) if c.kernel == [1, 1] => "1×1 convolution",
        Layer::Conv(_) => "convolution",
        Layer::Norm { .. } => "batch norm",
        Layer::MaxPool(PoolShape { .. }) => "max pool",
        Layer::AvgPool { .. } => "average pool",
        Layer::GlobalMean => "mean of each channel",
        Layer::Flatten => "flatten",
        Layer::Linear { .. } => "linear",
        Layer::Subsample { .. } => "every other pixel",
        Layer::Crop { .. } | Layer::Shift => "crop",
        Layer::TakeChannels { .. } => "first channels",
        Layer::PadChannels { .. } => "channels of zeros",
        Layer::Concat => "concatenation",
        Layer::Add => "sum",
        Layer::Scale => "product",
        Layer::Mix { .. } => "mixture",
        Layer::DropPath => "drop-path",
        Layer::Dropout { .. } => "dropout",
    }
}
