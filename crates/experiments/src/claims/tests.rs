use super::*;
use crate::Row;

const SWEEP: &str = r#"
name = "s"
title = "S"
question = "?"
seeds = [1, 2, 3]
axes = [{ type = "list", name = "network", levels = [{ name = "a" }, { name = "b" }, { name = "c" }] }]
metrics = [
    { name = "fd", title = "FD", from = { type = "scalar", name = "fd" }, better = "less" },
]
[tiers]
"#;

fn sweep() -> Sweep {
    toml::from_str(SWEEP).unwrap()
}

fn claim(expect: &str, test: &str) -> Claim {
    let text = format!("name = 'c'\nstatement = 's'\ntable = 't'\nseeds = 3\nexpect = {expect}\ntest = {test}\n");
    toml::from_str(&text).unwrap()
}

fn gathered(values: &[(&str, &[f64])]) -> Gathered {
    let row = |level, (seed, value): (usize, &f64)| Row::of(&[("network", level)], seed as u64, "fd", *value);
    let rows = values.iter().flat_map(|(level, values)| values.iter().enumerate().map(move |seed| row(*level, seed)));
    Gathered { rows: rows.collect(), ..Gathered::default() }
}

const PAIRED: &str = "{ type = 'paired' }";
const LESS: &str = "{ type = 'less', metric = 'fd', cell = { network = 'a' }, than = { network = 'b' } }";

fn verdict(expect: &str, values: &[(&str, &[f64])]) -> Verdict {
    judge(&claim(expect, PAIRED), &sweep(), &gathered(values)).verdict
}

#[test]
fn a_difference_beyond_chance_decides() {
    // Differences -2.0, -2.1, -1.9: mean -2, deviation 0.1, half-width 4.3027 * 0.1 / sqrt(3) = 0.2484.
    let values: &[(&str, &[f64])] = &[("a", &[1.0, 2.0, 3.0]), ("b", &[3.0, 4.1, 4.9])];
    let judged = judge(&claim(LESS, PAIRED), &sweep(), &gathered(values));
    assert_eq!(judged.verdict, Verdict::Held);
    assert_eq!(
        judged.evidence,
        ["a: 2 [1, 3] (n = 3); b: 4 [3, 4.9] (n = 3); difference -2, 95% interval -2.248 to -1.752 \
          (paired, 3 seeds)"]
    );
    assert!(judged.reasons.is_empty());
    let greater = LESS.replace("less", "greater");
    assert_eq!(verdict(&greater, values), Verdict::NotHeld);
    // The pairs decide, though the groups overlap.
    assert!(values[0].1[2] >= values[1].1[0]);
}

#[test]
fn chance_leaves_undecided_and_says_what_would_have_been_found() {
    // Differences -1, 0, 1: deviation 1. Detectable: (4.3027 + 1.0607) / sqrt(3) = 3.0966.
    let values: &[(&str, &[f64])] = &[("a", &[1.0, 2.0, 3.0]), ("b", &[2.0, 2.0, 2.0])];
    let judged = judge(&claim(LESS, PAIRED), &sweep(), &gathered(values));
    assert_eq!(judged.verdict, Verdict::Undecided);
    assert_eq!(judged.reasons.len(), 1);
    assert!(judged.reasons[0].starts_with("with 3 seeds a difference of 3.097 would be found"), "{:?}", judged.reasons);
}

#[test]
fn too_few_seeds_decide_nothing() {
    let values: &[(&str, &[f64])] = &[("a", &[1.0, 1.0]), ("b", &[9.0, 9.1, 9.2])];
    let judged = judge(&claim(LESS, PAIRED), &sweep(), &gathered(values));
    assert_eq!((judged.verdict, judged.reasons), (Verdict::Undecided, vec!["2 of 3 seeds are done".to_owned()]));
    let none = judge(&claim(LESS, PAIRED), &sweep(), &gathered(&[("a", &[1.0])]));
    assert_eq!((none.verdict, none.evidence.len()), (Verdict::Undecided, 0));
}

#[test]
fn an_order_holds_only_if_every_step_does() {
    let falls = "{ type = 'monotone', metric = 'fd', axis = 'network', direction = 'falls' }";
    let (high, middle, low): (&[f64], &[f64], &[f64]) = (&[9.0, 9.1, 9.2], &[5.0, 5.2, 5.1], &[1.0, 1.2, 1.1]);
    assert_eq!(verdict(falls, &[("a", high), ("b", middle), ("c", low)]), Verdict::Held);
    assert_eq!(verdict(falls, &[("a", high), ("b", low), ("c", middle)]), Verdict::NotHeld);
    assert_eq!(verdict(falls, &[("a", high), ("b", middle), ("c", &[5.1, 5.1, 5.1])]), Verdict::Undecided);
    let ends = falls.replace("'falls'", "'falls', levels = ['a', 'c']");
    assert_eq!(verdict(&ends, &[("a", high), ("b", low), ("c", middle)]), Verdict::Held);
}

#[test]
fn the_best_is_better_than_every_other() {
    let best = "{ type = 'best_of', metric = 'fd', axis = 'network', level = 'b' }";
    let (high, low): (&[f64], &[f64]) = (&[9.0, 9.1, 9.2], &[1.0, 1.2, 1.1]);
    assert_eq!(verdict(best, &[("a", high), ("b", low), ("c", high)]), Verdict::Held);
    assert_eq!(verdict(best, &[("a", high), ("b", low), ("c", low)]), Verdict::Undecided);
    assert_eq!(verdict(best, &[("a", low), ("b", high), ("c", high)]), Verdict::NotHeld);
}

#[test]
fn ratios_have_bounds() {
    let ratio = |bounds: &str| {
        format!("{{ type = 'ratio', metric = 'fd', cell = {{ network = 'a' }}, to = {{ network = 'b' }}, {bounds} }}")
    };
    // Ratios 0.5, 0.5, 0.55.
    let values: &[(&str, &[f64])] = &[("a", &[1.0, 2.0, 1.1]), ("b", &[2.0, 4.0, 2.0])];
    assert_eq!(verdict(&ratio("at_most = 0.7"), values), Verdict::Held);
    assert_eq!(verdict(&ratio("at_most = 0.7, at_least = 0.2"), values), Verdict::Held);
    assert_eq!(verdict(&ratio("at_least = 0.7"), values), Verdict::NotHeld);
    assert_eq!(verdict(&ratio("at_most = 0.5"), values), Verdict::Undecided);
}

#[test]
fn open_axes_are_paired_as_seeds_are() {
    // The data set matters far more than the network, which matters the same on both.
    let mut rows = Vec::new();
    for (data, offset) in [("x", 0.0), ("y", 100.0)] {
        for seed in 0..3 {
            let noise = 0.05 * seed as f64;
            rows.push(Row::of(&[("network", "a"), ("data", data)], seed, "fd", offset + 1.0 - noise));
            rows.push(Row::of(&[("network", "b"), ("data", data)], seed, "fd", offset + 2.0 + noise));
        }
    }
    let judged = judge(&claim(LESS, PAIRED), &sweep(), &Gathered { rows, ..Gathered::default() });
    assert_eq!(judged.verdict, Verdict::Held);
    assert!(judged.evidence[0].contains("(n = 6)") && judged.evidence[0].contains("3 seeds"), "{:?}", judged.evidence);
}

#[test]
fn a_bootstrap_of_many_seeds_agrees_with_the_pairs() {
    let spread =
        |center: f64| -> Vec<f64> { (0..20).map(|i| center + (f64::from(i) * 0.618_033_988).fract()).collect() };
    let bootstrap = "{ type = 'bootstrap', resamples = 2000 }";
    let (one, near, far) = (spread(0.0), spread(0.01), spread(0.6));
    let of = |other: &[f64]| judge(&claim(LESS, bootstrap), &sweep(), &gathered(&[("a", &one), ("b", other)]));
    assert_eq!(of(&far).verdict, Verdict::Held);
    let undecided = of(&near);
    assert_eq!(undecided.verdict, Verdict::Undecided);
    // Deviation of a uniform number 0.289: 2.8 * 0.289 * sqrt(2 / 20) = 0.256.
    let detectable: f64 = undecided.reasons[0].split(' ').nth(6).unwrap().parse().unwrap();
    assert!((detectable - 0.256).abs() < 0.02, "{:?}", undecided.reasons);
}

#[test]
fn numbers_of_different_protocols_do_not_compare() {
    let mut gathered = gathered(&[("a", &[1.0, 1.0, 1.1]), ("b", &[9.0, 9.1, 9.2])]);
    gathered.unlike.insert("fd".into(), "`a` differs from `b`".into());
    let judged = judge(&claim(LESS, PAIRED), &sweep(), &gathered);
    assert_eq!(judged.verdict, Verdict::Undecided);
    assert!(judged.reasons[0].contains("not measured alike"));
}

/// Of claims about differences that are not there, one in twenty is decided: half of those held.
#[test]
fn no_effect_is_found_as_often_as_the_confidence_allows() {
    use sha2::{Digest, Sha256};
    // A sum of twelve even numbers is about normal.
    let draw = |place: u64| -> f64 {
        let even = |i: u64| {
            let digest = Sha256::digest([place, i].map(u64::to_le_bytes).concat());
            f64::from(u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])) / f64::from(u32::MAX)
        };
        (0..12).map(even).sum::<f64>() - 6.0
    };
    let mut counts = [0; 3];
    for trial in 0..1000 {
        let values = |group: u64| -> Vec<f64> { (0..3).map(|seed| draw(trial * 100 + group * 10 + seed)).collect() };
        let judged = judge(&claim(LESS, PAIRED), &sweep(), &gathered(&[("a", &values(0)), ("b", &values(1))]));
        counts[judged.verdict as usize] += 1;
    }
    // 25 expected of either, with a deviation of 5.
    assert!(counts[0] < 45 && counts[1] < 45, "{counts:?}");
    assert!(counts[0] > 5 && counts[1] > 5, "{counts:?}");
}
