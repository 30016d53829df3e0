//! Spaces that no file can say: a function that picks and describes as it goes.

use std::collections::{BTreeMap, BTreeSet};

use archai_spec::desc::{Cost, ModelDesc, OpCatalog};
use archai_spec::rng::{Key, Rng};
use num_bigint::BigUint;

use super::{Features, MAX_ENUMERATED, Member, SearchSpace, SpaceError, hash};

/// Choices as they were made: name, option, number of options.
type Picked = Vec<(String, u16, u16)>;

/// Random members that are described before a space is used.
pub const CHECKED_AT_RANDOM: u64 = 10_000;
/// Most picks of one member.
const MAX_PICKS: usize = 10_000;

/// Makes the choices of a function, or says which were made.
pub struct Pick<'a> {
    rule: &'a mut dyn FnMut(usize, u16) -> u16,
    made: Picked,
}

impl Pick<'_> {
    /// One of several: its index. The name says what for; the same name may be picked again.
    pub fn index(&mut self, name: &str, n: usize) -> usize {
        let n = u16::try_from(n).unwrap_or(u16::MAX).max(1);
        // A function that never ends its picks gets first options, and an error afterwards.
        let i = match self.made.len() < MAX_PICKS {
            true => (self.rule)(self.made.len(), n).min(n - 1),
            false => 0,
        };
        if self.made.len() <= MAX_PICKS {
            self.made.push((name.to_owned(), i, n));
        }
        usize::from(i)
    }

    /// One of several.
    ///
    /// # Panics
    /// If there are none.
    pub fn one_of<'b, T>(&mut self, name: &str, options: &'b [T]) -> &'b T {
        assert!(!options.is_empty(), "`{name}` is picked from nothing");
        &options[self.index(name, options.len())]
    }
}

/// A space whose members a function describes; see [`from_fn`].
pub struct FromFn<F> {
    name: String,
    catalog: OpCatalog,
    describe: F,
}

/// The space of all networks that a function describes, whatever it picks. What follows from a pick may depend on it: that is
/// how choices become conditional. The function must be pure: equal picks give equal descriptions.
///
/// Not every member is checked, but [`CHECKED_AT_RANDOM`] random ones are.
///
/// ```
/// use archai_search::space::{Pick, SearchSpace, Space, from_fn, shipped};
/// use archai_spec::desc::OpCatalog;
/// use archai_spec::rng::Key;
/// let cells = shipped("nb201")?;
/// // Cells whose second half repeats the first one.
/// let space = from_fn("symmetric", OpCatalog::builtin(), move |pick: &mut Pick<'_>| {
///     let half: String = (0..3).map(|_| pick.index("op", 5).to_string()).collect();
///     cells.describe(&cells.parse_id(&format!("nb201-{half}{half}"))?)
/// })?;
/// let member = space.sample(Key::new(0))?;
/// assert_eq!(space.parse_id(&space.id(&member))?, member);
/// # Ok::<(), archai_search::space::SpaceError>(())
/// ```
///
/// # Errors
/// A random member that cannot be described, or whose description is wrong; a name with other than letters, digits and `_`.
pub fn from_fn<F>(name: &str, catalog: OpCatalog, describe: F) -> Result<FromFn<F>, SpaceError>
where
    F: Fn(&mut Pick<'_>) -> Result<ModelDesc, SpaceError> + Send + Sync,
{
    if !super::yaml::is_name(name) {
        return Err(SpaceError::new(format!(
            "`{name}` is no name of a space: it has letters, digits and `_`, and begins with a letter"
        )));
    }
    let space = FromFn {
        name: name.to_owned(),
        catalog,
        describe,
    };
    // Members of small spaces come up again and again; each is looked at once.
    let mut seen = BTreeSet::new();
    for i in 0..CHECKED_AT_RANDOM {
        let member = space.sample(Key::new(i).with("random members that are checked"))?;
        if seen.insert(member.clone()) {
            let checked = space.describe(&member);
            checked.map_err(|e| SpaceError::new(format!("{}: {e}", space.id(&member))))?;
        }
    }
    Ok(space)
}

impl<F> FromFn<F>
where
    F: Fn(&mut Pick<'_>) -> Result<ModelDesc, SpaceError> + Send + Sync,
{
    /// Runs the function under a rule.
    fn run(
        &self,
        rule: &mut dyn FnMut(usize, u16) -> u16,
    ) -> (Picked, Result<ModelDesc, SpaceError>) {
        let mut pick = Pick {
            rule,
            made: Vec::new(),
        };
        let desc = (self.describe)(&mut pick);
        match pick.made.len() > MAX_PICKS {
            true => {
                let text = format!(
                    "`{}` picks more than {MAX_PICKS} times for one member",
                    self.name
                );
                (pick.made, Err(SpaceError::new(text)))
            }
            false => (pick.made, desc),
        }
    }

    fn member(&self, rule: &mut dyn FnMut(usize, u16) -> u16) -> Member {
        let (made, _) = self.run(rule);
        Member {
            choices: made.into_iter().map(|(_, i, _)| Some(i)).collect(),
        }
    }

    /// The member that has these picks as far as they are asked for, and first options elsewhere.
    fn completed(&self, choices: &[Option<u16>]) -> Member {
        self.member(&mut |at, _| choices.get(at).copied().flatten().unwrap_or(0))
    }

    /// The picks of a member, and its network.
    fn of(&self, member: &Member) -> Result<(Picked, ModelDesc), SpaceError> {
        let (made, desc) =
            self.run(&mut |at, _| member.choices.get(at).copied().flatten().unwrap_or(0));
        let same = made.len() == member.choices.len()
            && (made.iter().zip(&member.choices)).all(|((_, i, _), given)| Some(*i) == *given);
        if !same {
            return Err(SpaceError::new(format!(
                "it is no member of `{}`",
                self.name
            )));
        }
        let desc = desc?;
        desc.check(&self.catalog)
            .map_err(|e| SpaceError::new(e.to_string()))?;
        Ok((made, desc))
    }

    fn random(&self, rng: &mut Rng) -> Member {
        self.member(&mut |_, n| rng.uniform_u32_below(u32::from(n)) as u16)
    }
}

impl<F> SearchSpace for FromFn<F>
where
    F: Fn(&mut Pick<'_>) -> Result<ModelDesc, SpaceError> + Send + Sync,
{
    fn name(&self) -> &str {
        &self.name
    }

    /// Of a function there is nothing to hash but what it describes: some members stand for all.
    fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("archai: space of a function, version 1");
        hasher.update(self.name.as_bytes());
        for i in 0..32u64 {
            let member = self.random(&mut Key::new(i).with("fingerprint").rng());
            hasher.update(self.id(&member).as_bytes());
            if let Ok(hash) = self.network_hash(&member) {
                hasher.update(&hash);
            }
        }
        *hasher.finalize().as_bytes()
    }

    fn size(&self) -> Option<BigUint> {
        None
    }

    fn sample(&self, key: Key) -> Result<Member, SpaceError> {
        Ok(self.random(&mut key.rng()))
    }

    fn neighbours(&self, member: &Member) -> Vec<Member> {
        let (made, _) =
            self.run(&mut |at, _| member.choices.get(at).copied().flatten().unwrap_or(0));
        let mut all = Vec::new();
        for (at, (_, now, n)) in made.iter().enumerate() {
            for option in (0..*n).filter(|option| option != now) {
                let mut changed = member.choices.clone();
                changed[at] = Some(option);
                all.push(self.completed(&changed));
            }
        }
        all
    }

    fn crossover(&self, a: &Member, b: &Member, key: Key) -> Member {
        let mut rng = key.rng();
        self.member(&mut |at, _| {
            let get = |m: &Member| m.choices.get(at).copied().flatten();
            let first = rng.uniform_u32_below(2) == 0;
            let (x, y) = if first {
                (get(a), get(b))
            } else {
                (get(b), get(a))
            };
            x.or(y).unwrap_or(0)
        })
    }

    /// Picks are named, not placed: they stand beside the sequences of layers.
    fn features(&self, member: &Member) -> Result<Features, SpaceError> {
        let (made, desc) = self.of(member)?;
        let mut paths = hash::paths(&desc, &self.catalog);
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        for (name, i, _) in made {
            let nth = times.entry(name.clone()).or_insert(0);
            paths.insert(format!("{name}[{nth}] = {i}"), 1);
            *nth += 1;
        }
        Ok(Features {
            choices: Vec::new(),
            paths,
        })
    }

    fn id(&self, member: &Member) -> String {
        let parts = member
            .choices
            .iter()
            .map(|c| c.map_or("?".to_owned(), |i| i.to_string()));
        format!("{}-{}", self.name, parts.collect::<Vec<String>>().join("."))
    }

    fn parse_id(&self, id: &str) -> Result<Member, SpaceError> {
        let wrong = |why: &str| {
            let shown: String = id.chars().take(120).collect();
            SpaceError::new(format!("`{shown}` is no id of `{}`: {why}", self.name))
        };
        let rest = id
            .strip_prefix(self.name.as_str())
            .and_then(|rest| rest.strip_prefix('-'));
        let rest =
            rest.ok_or_else(|| wrong(&format!("it does not begin with `{}-`", self.name)))?;
        let choices: Result<Vec<Option<u16>>, _> = match rest {
            "" => Ok(Vec::new()),
            rest => rest.split('.').map(|part| part.parse().map(Some)).collect(),
        };
        let member = Member {
            choices: choices.map_err(|_| wrong("expected whole numbers with dots between"))?,
        };
        match self.of(&member) {
            Ok(_) => Ok(member),
            Err(e) => Err(wrong(&e.message)),
        }
    }

    fn network_hash(&self, member: &Member) -> Result<[u8; 32], SpaceError> {
        Ok(hash::network_hash(&self.of(member)?.1, &self.catalog))
    }

    fn describe(&self, member: &Member) -> Result<ModelDesc, SpaceError> {
        Ok(self.of(member)?.1)
    }

    fn costs(&self, member: &Member) -> Result<Cost, SpaceError> {
        let cost = self.of(member)?.1.cost(&self.catalog);
        Ok(cost
            .map_err(|e| SpaceError::new(e.to_string()))?
            .total(false))
    }

    /// A function says only by running how many members there are: they are counted first.
    fn enumerate(&self) -> Option<Box<dyn Iterator<Item = Member> + '_>> {
        let all = || Picks {
            space: self,
            prefix: Some(Vec::new()),
        };
        let few = all().nth(usize::try_from(MAX_ENUMERATED).ok()?).is_none();
        few.then(|| Box::new(all()) as Box<dyn Iterator<Item = Member> + '_>)
    }
}

/// Members one after the other, the last pick changing fastest.
struct Picks<'a, F> {
    space: &'a FromFn<F>,
    prefix: Option<Vec<u16>>,
}

impl<F> Iterator for Picks<'_, F>
where
    F: Fn(&mut Pick<'_>) -> Result<ModelDesc, SpaceError> + Send + Sync,
{
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        let prefix = self.prefix.take()?;
        let (made, _) = (self.space).run(&mut |at, _| prefix.get(at).copied().unwrap_or(0));
        let choices = made.iter().map(|(_, i, _)| Some(*i)).collect();
        let mut next: Vec<(u16, u16)> = made.iter().map(|(_, i, n)| (*i, *n)).collect();
        while let Some((i, n)) = next.pop() {
            if i + 1 < n {
                let mut prefix: Vec<u16> = next.iter().map(|(i, _)| *i).collect();
                prefix.push(i + 1);
                self.prefix = Some(prefix);
                break;
            }
        }
        Some(Member { choices })
    }
}
