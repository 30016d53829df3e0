//! Genotypes: the short form of a found architecture in the original DARTS code, as a value and as its Python text.
//! Text is parsed, never run.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    Built, CellDesc, CellPlan, CellType, DescError, DescErrorKind, DescErrors, ModelDesc,
    ModelDescBuilder, NodeDesc, OpCatalog, build,
};
use crate::settings::ModelDescSettings;

/// Largest state number that a genotype may name; larger numbers are typing errors. A cell of more nodes than that has states
/// that no edge can read: it is refused before a network is built of it.
const MAX_STATE: usize = 1000;

/// (op, input state), two per node.
type Pairs = Vec<(String, usize)>;

/// Two cells in the notation of the original DARTS code: each node is two (op, input state) pairs, listed node after node.
/// State 0 is the cell before the previous one, state 1 the previous one, state 2+k node k.
///
/// ```
/// use archai_spec::desc::Genotype;
/// let text = "Genotype(normal=[('skip_connect', 0), ('sep_conv_3x3', 1)], normal_concat=range(2, 3), \
///             reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1)], reduce_concat=range(2, 3))";
/// let genotype: Genotype = text.parse().unwrap();
/// assert_eq!(genotype.normal[1], ("sep_conv_3x3".to_string(), 1));
/// assert_eq!(genotype.to_string(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genotype {
    /// Regular cell: (op, input state), two per node.
    pub normal: Vec<(String, usize)>,
    /// States that make the regular cell's output.
    pub normal_concat: Vec<usize>,
    /// Reduction cell: (op, input state), two per node.
    pub reduce: Vec<(String, usize)>,
    /// States that make the reduction cell's output.
    pub reduce_concat: Vec<usize>,
}

fn error(message: impl Into<String>) -> DescError {
    DescError::new(DescErrorKind::Genotype, message)
}

impl Genotype {
    /// Checks what can be checked without knowing the ops. Parsing does so too.
    ///
    /// # Errors
    /// An odd number of pairs, more nodes than have a number, an input or a concatenated state that does not exist.
    pub fn check(&self) -> Result<(), DescError> {
        for (name, pairs, concat) in [
            ("normal", &self.normal, &self.normal_concat),
            ("reduce", &self.reduce, &self.reduce_concat),
        ] {
            if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
                return Err(
                    error(format!("has {} pairs; expected two per node", pairs.len())).at(name),
                );
            }
            let (nodes, most) = (pairs.len() / 2, MAX_STATE - 1);
            if nodes > most {
                return Err(error(format!(
                    "has {nodes} nodes; a cell may have {most}, because states are numbered up to {MAX_STATE}"
                ))
                .at(name));
            }
            for (i, (op, input)) in pairs.iter().enumerate() {
                let states = i / 2 + 2;
                if *input >= states {
                    return Err(error(format!(
                        "pair {i} ('{op}', {input}) belongs to node {}, which can read states 0 to {}",
                        i / 2,
                        states - 1
                    ))
                    .at(name));
                }
            }
            let states = pairs.len() / 2 + 2;
            if concat.is_empty() {
                return Err(error("is empty; name at least one state").at(format!("{name}_concat")));
            }
            if let Some(bad) = concat.iter().find(|&&s| s >= states) {
                return Err(error(format!(
                    "names state {bad}, but the last one is {}",
                    states - 1
                ))
                .at(format!("{name}_concat")));
            }
        }
        Ok(())
    }
    fn pairs(&self, kind: CellType) -> (&[(String, usize)], &[usize]) {
        match kind {
            CellType::Regular => (&self.normal, &self.normal_concat),
            CellType::Reduction => (&self.reduce, &self.reduce_concat),
        }
    }
}

impl fmt::Display for Genotype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Genotype(")?;
        for (i, (name, pairs, concat)) in [
            ("normal", &self.normal, &self.normal_concat),
            ("reduce", &self.reduce, &self.reduce_concat),
        ]
        .into_iter()
        .enumerate()
        {
            let list: Vec<String> = pairs
                .iter()
                .map(|(op, input)| format!("('{op}', {input})"))
                .collect();
            write!(
                f,
                "{}{name}=[{}], {name}_concat=",
                if i > 0 { ", " } else { "" },
                list.join(", ")
            )?;
            match (concat.first(), concat.last()) {
                (Some(&first), Some(&last)) if concat.iter().copied().eq(first..=last) => {
                    write!(f, "range({first}, {})", last + 1)?;
                }
                _ => write!(f, "{concat:?}")?,
            }
        }
        f.write_str(")")
    }
}

/// A cursor over the text of a genotype.
struct Parser<'a> {
    text: &'a str,
    pos: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.pos..]
    }
    /// Skips white space and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.pos += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.pos += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }
    fn fail<T>(&self, expected: &str) -> Result<T, DescError> {
        let before = &self.text[..self.pos];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        let found: String = self.rest().chars().take(12).collect();
        let found = if found.is_empty() {
            "the end".to_string()
        } else {
            format!("`{found}`")
        };
        let form = "Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], reduce_concat=range(2, 6))";
        Err(error(format!(
            "expected {expected}, found {found}; a genotype reads {form}"
        ))
        .at(format!("line {line}, column {column}")))
    }
    fn eat(&mut self, token: &str) -> bool {
        self.skip();
        let found = self.rest().starts_with(token);
        if found {
            self.pos += token.len();
        }
        found
    }
    fn expect(&mut self, token: &str) -> Result<(), DescError> {
        if self.eat(token) {
            Ok(())
        } else {
            self.fail(&format!("`{token}`"))
        }
    }
    fn word(&mut self) -> &'a str {
        self.skip();
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .unwrap_or(rest.len());
        self.pos += end;
        &rest[..end]
    }
    fn number(&mut self) -> Result<usize, DescError> {
        self.skip();
        let start = self.pos;
        match self.word().parse() {
            Ok(n) if n <= MAX_STATE => Ok(n),
            _ => {
                self.pos = start;
                self.fail("the number of a state")
            }
        }
    }
    /// A list or tuple of what `item` reads; a comma may stand last.
    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DescError>,
    ) -> Result<Vec<T>, DescError> {
        let close = if self.eat("[") {
            "]"
        } else if self.eat("(") {
            ")"
        } else {
            return self.fail("`[`");
        };
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(item(self)?);
            if !self.eat(",") {
                self.expect(close)?;
                break;
            }
        }
        Ok(items)
    }
    fn pair(&mut self) -> Result<(String, usize), DescError> {
        self.expect("(")?;
        let quote = if self.eat("'") {
            '\''
        } else if self.eat("\"") {
            '"'
        } else {
            return self.fail("the name of an op in quotes");
        };
        let Some(end) = self.rest().find(quote) else {
            return self.fail("a closing quote");
        };
        let name = &self.rest()[..end];
        if name.is_empty()
            || name
                .chars()
                .any(|c| !(c.is_alphanumeric() || "_.-+".contains(c)))
        {
            return self.fail("the name of an op");
        }
        self.pos += end + 1;
        self.expect(",")?;
        let input = self.number()?;
        self.expect(")")?;
        Ok((name.to_string(), input))
    }
    fn states(&mut self) -> Result<Vec<usize>, DescError> {
        if self.eat("range") {
            self.expect("(")?;
            let from = self.number()?;
            self.expect(",")?;
            let to = self.number()?;
            self.expect(")")?;
            Ok((from..to).collect())
        } else {
            self.list(Self::number)
        }
    }
}

impl FromStr for Genotype {
    type Err = DescError;

    /// Reads the Python text `Genotype(normal=…, normal_concat=…, reduce=…, reduce_concat=…)`; `NAME = ` may stand before
    /// it, and the four parts may come in any order.
    fn from_str(text: &str) -> Result<Self, DescError> {
        let mut p = Parser { text, pos: 0 };
        p.skip();
        let mut start = p.pos;
        let mut word = p.word();
        if word != "Genotype" && p.eat("=") {
            p.skip();
            start = p.pos;
            word = p.word();
        }
        if word != "Genotype" {
            p.pos = start;
            return p.fail("`Genotype(`");
        }
        p.expect("(")?;
        let (mut normal, mut normal_concat, mut reduce, mut reduce_concat) =
            (None, None, None, None);
        while !p.eat(")") {
            p.skip();
            let start = p.pos;
            let key = p.word();
            p.expect("=")?;
            let again = match key {
                "normal" => normal.replace(p.list(Parser::pair)?).is_some(),
                "normal_concat" => normal_concat.replace(p.states()?).is_some(),
                "reduce" => reduce.replace(p.list(Parser::pair)?).is_some(),
                "reduce_concat" => reduce_concat.replace(p.states()?).is_some(),
                _ => {
                    p.pos = start;
                    return p.fail("`normal`, `normal_concat`, `reduce` or `reduce_concat`");
                }
            };
            if again {
                p.pos = start;
                return p.fail(&format!("each part once, but `{key}` came before"));
            }
            if !p.eat(",") {
                p.expect(")")?;
                break;
            }
        }
        p.skip();
        if !p.rest().is_empty() {
            return p.fail("nothing after the genotype");
        }
        let missing = |name: &str| error(format!("the part `{name}=` is missing"));
        let genotype = Genotype {
            normal: normal.ok_or_else(|| missing("normal"))?,
            normal_concat: normal_concat.ok_or_else(|| missing("normal_concat"))?,
            reduce: reduce.ok_or_else(|| missing("reduce"))?,
            reduce_concat: reduce_concat.ok_or_else(|| missing("reduce_concat"))?,
        };
        genotype.check()?;
        Ok(genotype)
    }
}

/// Builds the cells of a genotype.
pub(super) struct GenotypeBuilder<'a>(pub Cow<'a, Genotype>);

impl ModelDescBuilder for GenotypeBuilder<'_> {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let (pairs, _) = self.0.pairs(cell.cell_type);
        Ok(pairs
            .chunks(2)
            .map(|node| NodeDesc::new(node.iter().map(|(op, from)| cell.edge(op, *from))))
            .collect())
    }
    fn cell_concat(&self, cell: &CellPlan<'_>, _n_nodes: usize) -> Vec<usize> {
        self.0.pairs(cell.cell_type).1.to_vec()
    }
}

/// The full description of a genotype in the macro structure of `settings`.
///
/// # Errors
/// An inconsistent genotype, unknown ops, and what [`build`] reports.
pub fn from_genotype(
    genotype: &Genotype,
    settings: &ModelDescSettings,
    affine: bool,
    catalog: &OpCatalog,
) -> Result<Built, DescErrors> {
    genotype.check()?;
    let builder = GenotypeBuilder(Cow::Borrowed(genotype));
    build(&builder, settings, None, affine, catalog)
}

impl ModelDesc {
    /// The genotype of the first regular and the first reduction cell.
    ///
    /// # Errors
    /// Says what a genotype cannot express: a missing kind of cell, nodes without exactly two edges, mixed ops, ops with
    /// parameters or several inputs, unusual strides, cells of one kind that differ.
    pub fn genotype(&self) -> Result<Genotype, DescError> {
        let (normal, normal_concat) = self.cell_genotype(CellType::Regular)?;
        let (reduce, reduce_concat) = self.cell_genotype(CellType::Reduction)?;
        Ok(Genotype {
            normal,
            normal_concat,
            reduce,
            reduce_concat,
        })
    }

    fn cell_genotype(&self, kind: CellType) -> Result<(Pairs, Vec<usize>), DescError> {
        let mut cells = self
            .cells
            .iter()
            .enumerate()
            .filter(|(_, c)| c.cell_type == kind);
        let Some((first, cell)) = cells.next() else {
            return Err(error(format!(
                "a genotype needs a regular and a reduction cell, but the description has no {kind} cell"
            )));
        };
        let pairs = cell_pairs(cell).map_err(|e| e.at(format!("cell {first}")))?;
        for (i, other) in cells {
            if cell_pairs(other).map_err(|e| e.at(format!("cell {i}")))? != pairs
                || other.concat != cell.concat
            {
                return Err(error(format!(
                    "a genotype has one {kind} cell for all, but this one differs from cell {first}"
                ))
                .at(format!("cell {i}")));
            }
        }
        Ok((pairs, cell.concat.clone()))
    }
}

fn cell_pairs(cell: &CellDesc) -> Result<Pairs, DescError> {
    if cell.stems.len() != 2 {
        return Err(error(format!(
            "a genotype's cells have two inputs, but this one has {}",
            cell.stems.len()
        )));
    }
    let mut pairs = Vec::new();
    for (n, node) in cell.nodes.iter().enumerate() {
        if node.edges.len() != 2 {
            return Err(error(format!(
                "a genotype has two edges per node, but this one has {}",
                node.edges.len()
            ))
            .at(format!("node {n}")));
        }
        for (e, edge) in node.edges.iter().enumerate() {
            let op = &edge.op;
            let fail = |text: String| Err(error(text).at(format!("node {n}, edge {e}")));
            let &[input] = edge.inputs.as_slice() else {
                return fail(format!(
                    "`{}` reads {} states; a genotype's op reads one",
                    op.name,
                    edge.inputs.len()
                ));
            };
            if op.is_mixed() {
                return fail(format!(
                    "`{}` is not finalised; a genotype names one op per edge",
                    op.name
                ));
            }
            if !op.params.is_empty() || !op.children.is_empty() || op.affine.is_some() {
                return fail(format!(
                    "`{}` has parameters or children of its own, which a genotype cannot say",
                    op.name
                ));
            }
            let stride = if cell.cell_type == CellType::Reduction && input < cell.stems.len() {
                2
            } else {
                1
            };
            if op.stride != stride {
                return fail(format!(
                    "`{}` has stride {}, but a genotype means {stride} here",
                    op.name, op.stride
                ));
            }
            pairs.push((op.name.clone(), input));
        }
    }
    Ok(pairs)
}
