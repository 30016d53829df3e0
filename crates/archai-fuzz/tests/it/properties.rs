//! Readers against anything, and against damaged samples.

use archai_fuzz::TARGETS;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::measure::{alone, read};
use crate::samples;

fn runner(cases: u32) -> TestRunner {
    // PROPTEST_CASES asks for more.
    let cases = std::env::var("PROPTEST_CASES").map_or(cases, |n| n.parse().unwrap());
    TestRunner::new_with_rng(
        Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        },
        proptest::test_runner::TestRng::deterministic_rng(Default::default()),
    )
}

#[test]
fn p15_p18_any_bytes() {
    let _alone = alone();
    for target in TARGETS {
        let check = |bytes: Vec<u8>| {
            read(target.name, &bytes, "any bytes");
            Ok(())
        };
        runner(100).run(&vec(any::<u8>(), 0..600), check).unwrap();
        let texts = "[ -~\n\u{1e}é]{0,300}".prop_map(String::into_bytes);
        runner(50).run(&texts, check).unwrap();
    }
}

/// One damage to a file: where, as a share of its length, and what.
#[derive(Clone, Debug)]
enum Damage {
    Flip(f64, u8),
    Set(f64, u8),
    Cut(f64),
    Remove(f64, usize),
    Insert(f64, Vec<u8>),
    /// A piece from one place over another.
    Copy(f64, f64, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = || 0.0..1.0;
    prop_oneof![
        (place(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, 1 << bit)),
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        place().prop_map(Damage::Cut),
        (place(), 1..40usize).prop_map(|(at, n)| Damage::Remove(at, n)),
        (place(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (place(), place(), 1..40usize).prop_map(|(from, to, n)| Damage::Copy(from, to, n)),
    ]
}

fn damaged(bytes: &[u8], all: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in all {
        let length = bytes.len();
        let at = |share: f64| (share * length as f64) as usize;
        if bytes.is_empty() {
            break;
        }
        match damage {
            Damage::Flip(place, bits) => bytes[at(*place)] ^= bits,
            Damage::Set(place, byte) => bytes[at(*place)] = *byte,
            Damage::Cut(place) => bytes.truncate(at(*place)),
            Damage::Remove(place, n) => {
                let (from, end) = (at(*place), bytes.len());
                bytes.drain(from..(from + n).min(end));
            }
            Damage::Insert(place, new) => {
                let at = at(*place);
                bytes.splice(at..at, new.iter().copied());
            }
            Damage::Copy(from, to, n) => {
                let (from, to) = (at(*from), at(*to));
                let n = (*n).min(bytes.len() - from.max(to));
                bytes.copy_within(from..from + n, to);
            }
        }
    }
    bytes
}

#[test]
fn p15_p18_damaged_samples() {
    let _alone = alone();
    for (target, name, bytes) in samples::all() {
        runner(60)
            .run(&vec(damage(), 1..5), |all| {
                read(target, &damaged(&bytes, &all), &name);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn p15_p18_samples_cut_at_every_length() {
    let _alone = alone();
    for (target, name, bytes) in samples::all() {
        let step = bytes.len() / 400 + 1;
        for length in (0..bytes.len()).step_by(step) {
            read(
                target,
                &bytes[..length],
                &format!("{name}, its first {length} bytes"),
            );
        }
    }
}
