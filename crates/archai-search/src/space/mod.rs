//! Spaces of networks and their members.

pub mod build;
mod check;
mod checked;
mod compile;
pub mod desc;
mod error;
pub mod expr;
mod from_fn;
mod hash;
mod member;
mod ops;
mod shipped;
mod tree;
mod yaml;

pub use checked::{Choice, Quantity, Report, Space};
pub use error::SpaceError;
pub use from_fn::{CHECKED_AT_RANDOM, FromFn, Pick, from_fn};
pub use member::{Features, Member, RecipeValue};
pub use num_bigint::BigUint;
pub use shipped::{shipped, shipped_names, shipped_text};

use std::collections::BTreeMap;

use archai_spec::desc::{Cost, ModelDesc};
use archai_spec::rng::Key;

/// Most members of a space that [`SearchSpace::enumerate`] lists.
pub const MAX_ENUMERATED: u64 = 1_000_000;

/// The ops of the language, each with what it is; an op of the catalogue is one of the language, too.
pub fn language_ops() -> impl Iterator<Item = (&'static str, &'static str)> {
    ops::OWN.iter().map(|op| (op.name, op.about))
}

/// A set of networks that a search chooses from.
///
/// A member is plain data, made of choices; a network exists only inside of what evaluates it. All functions are pure:
/// equal arguments give equal results, whichever thread asks. A space that was made by [the language](self) has had every
/// member checked, so that what can fail here fails only for members of other spaces.
pub trait SearchSpace: Send + Sync {
    /// Its name, with which the ids of its members begin.
    fn name(&self) -> &str;

    /// What tells this space from all others: an edited space has another fingerprint.
    fn fingerprint(&self) -> [u8; 32];

    /// How many members it has, if that is known exactly.
    fn size(&self) -> Option<BigUint>;

    /// A random member. Choices are drawn one by one, each option being as likely as the next.
    ///
    /// # Errors
    /// Conditions that members have to meet are met so rarely that no member was found.
    fn sample(&self, key: Key) -> Result<Member, SpaceError>;

    /// All members that differ from this one in one choice. Choices that exist only with the new option take their first
    /// one; those that exist no longer are dropped.
    fn neighbours(&self, member: &Member) -> Vec<Member>;

    /// A random one of [`SearchSpace::neighbours`], if there is any.
    fn mutate(&self, member: &Member, key: Key) -> Option<Member> {
        let mut all = self.neighbours(member);
        let n = u32::try_from(all.len()).ok().filter(|n| *n > 0)?;
        Some(all.swap_remove(key.rng().uniform_u32_below(n) as usize))
    }

    /// A member that has each choice from either parent, which one being random. It may equal a parent.
    fn crossover(&self, a: &Member, b: &Member, key: Key) -> Member;

    /// What a surrogate sees of a member.
    ///
    /// # Errors
    /// It is no member of this space.
    fn features(&self, member: &Member) -> Result<Features, SpaceError>;

    /// A short text from which [`SearchSpace::parse_id`] makes the same member.
    fn id(&self, member: &Member) -> String;

    /// The member of an id.
    ///
    /// # Errors
    /// It is not the id of a member, and why.
    fn parse_id(&self, id: &str) -> Result<Member, SpaceError>;

    /// The same for members whose networks compute the same function class: unreachable ops, the order of sums and of
    /// parallel branches do not matter.
    ///
    /// # Errors
    /// It is no member of this space.
    fn network_hash(&self, member: &Member) -> Result<[u8; 32], SpaceError>;

    /// The network.
    ///
    /// # Errors
    /// It is no member of this space.
    fn describe(&self, member: &Member) -> Result<ModelDesc, SpaceError>;

    /// Parameters and multiply-adds of the network, exactly.
    ///
    /// # Errors
    /// It is no member of this space.
    fn costs(&self, member: &Member) -> Result<Cost, SpaceError>;

    /// Settings that the member chooses beside the network, by their dotted keys.
    ///
    /// # Errors
    /// It is no member of this space.
    fn recipe(&self, member: &Member) -> Result<BTreeMap<String, RecipeValue>, SpaceError> {
        let _ = member;
        Ok(BTreeMap::new())
    }

    /// All members, in a fixed order, if there are at most [`MAX_ENUMERATED`].
    fn enumerate(&self) -> Option<Box<dyn Iterator<Item = Member> + '_>>;
}
