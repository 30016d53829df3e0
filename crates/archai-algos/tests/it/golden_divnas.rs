//! The kernel and the choices of DivNAS against reference vectors of independent scripts in 64 bits.

use archai_algos::divnas::select::{
    Kernel, brute_force, greedy, mutual_information, weighted_majority,
};
use serde_json::Value;

use crate::golden::{Golden, distance};

fn indices(value: &Value) -> Vec<usize> {
    let list = value.as_array().expect("a list");
    list.iter()
        .map(|i| i.as_u64().expect("an index") as usize)
        .collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn kernels_and_choices_are_those_of_the_reference() {
    let golden = Golden::read("rules");
    let cases = golden.json["divnas"].as_object().expect("cases").iter();
    let cases = cases.filter(|(name, case)| name.starts_with("case") && case["items"].is_u64());
    let mut n_cases = 0;
    for (name, case) in cases {
        n_cases += 1;
        let size = |key: &str| case[key].as_u64().expect(key) as usize;
        let (items, samples, dim, budget) =
            (size("items"), size("samples"), size("dim"), size("budget"));
        let activations = golden.get(&format!("divnas/{name}.activations"));
        let rows: Vec<Vec<f32>> = (activations.chunks_exact(samples * dim))
            .map(|item| item.iter().map(|&x| x as f32).collect())
            .collect();
        let mut kernel = Kernel::new(items);
        kernel.observe(&rows, samples, number(&case["sigma"]));
        let expect = golden.get(&format!("divnas/{name}.kernel"));
        let pairs = (0..items).flat_map(|i| (0..items).map(move |j| (i, j)));
        let values: Vec<f64> = pairs.map(|(i, j)| kernel.at(i, j)).collect();
        // Distances are summed in 32 bits over short runs.
        assert!(distance(&values, &expect) < 1e-6, "{name}: kernel");

        let exact = Kernel::from_values(items, expect).expect("square");
        let information =
            |chosen: &[usize]| mutual_information(&exact, chosen).expect("positive definite");
        let all = golden.get(&format!("divnas/{name}.mutual_information_all_subsets"));
        let subsets = subsets(items, budget);
        let ours: Vec<f64> = subsets.iter().map(|s| information(s)).collect();
        assert!(distance(&ours, &all) < 1e-11, "{name}: mutual information");

        let best = indices(&case["best_subset"]);
        assert_eq!(brute_force(&exact, budget), Ok(best.clone()), "{name}");
        assert_eq!(brute_force(&kernel, budget), Ok(best.clone()), "{name}");
        assert!((information(&best) - number(&case["best_mi"])).abs() < 1e-11);

        let order = indices(&case["greedy_order"]);
        assert_eq!(greedy(&exact, budget), Ok(order.clone()), "{name}");
        let gains = case["greedy_ratio_gains"].as_array().expect("gains");
        for (k, ratio) in gains.iter().enumerate() {
            let gain = information(&order[..=k]) - information(&order[..k]);
            let expect = number(ratio).ln() / 2.0;
            assert!((gain - expect).abs() < 1e-11, "{name}: gain {k}");
        }

        if let Some(half) = golden.json["divnas"].get(format!("{name}_top_half_by_alpha")) {
            let alphas = golden.get(&format!("divnas/{name}.alpha_scores"));
            let mut kept: Vec<usize> = (0..items).collect();
            kept.sort_by(|&a, &b| alphas[b].total_cmp(&alphas[a]));
            kept.truncate(budget.max(items / 2));
            assert_eq!(kept, indices(&half["kept"]));
            kept.sort_unstable();
            let among = exact.restrict(&kept);
            let chosen = brute_force(&among, budget).expect("positive definite");
            let information = mutual_information(&among, &chosen).expect("positive definite");
            let chosen: Vec<usize> = chosen.iter().map(|&i| kept[i]).collect();
            assert_eq!(chosen, indices(&half["best_subset"]));
            assert!((information - number(&half["best_mi"])).abs() < 1e-11);
        }
    }
    assert_eq!(n_cases, 6);
}

/// All choices in lexicographic order.
fn subsets(items: usize, wanted: usize) -> Vec<Vec<usize>> {
    if wanted == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for last in wanted - 1..items {
        for mut subset in subsets(last, wanted - 1) {
            subset.push(last);
            all.push(subset);
        }
    }
    all.sort();
    all
}

#[test]
fn weighted_majority_is_that_of_the_reference() {
    let golden = Golden::read("rules");
    let eta = number(&golden.json["divnas"]["wmr"]["eta"]);
    let shape = golden.shape("divnas/wmr.rewards");
    let rewards = golden.get("divnas/wmr.rewards");
    let expect = golden.get("divnas/wmr.weights");
    let experts = shape[1];
    let mut weights = vec![1.0 / experts as f64; experts];
    let rounds = rewards
        .chunks_exact(experts)
        .zip(expect.chunks_exact(experts));
    for (round, (rewards, expect)) in rounds.enumerate() {
        weighted_majority(&mut weights, rewards, eta);
        assert!(distance(&weights, expect) < 1e-12, "round {round}");
    }
}
