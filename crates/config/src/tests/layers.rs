use proptest::prelude::*;

use super::{Experiment, GOOD, typed};
use crate::{Layered, resolve, resolve_part};

/// Files in a new folder.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// `text` without the folder's name.
fn inside(folder: &tempfile::TempDir, text: impl ToString) -> String {
    text.to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn later_layers_win() {
    let folder = folder(&[
        ("base.toml", "a = 1\nlist = [1, 2]\n[t]\nx = 1\ny = 1\n"),
        ("sub/first.toml", "extends = '../base.toml'\nb = 'first'\n[t]\ny = 2\n"),
        ("second.toml", "b = 'second'\nlist = [3]\n"),
        ("run.toml", "extends = ['sub/first.toml', 'second.toml']\n[t]\nz = 3\n"),
    ]);
    let mut layered = Layered::load(folder.path().join("run.toml")).unwrap();
    layered.set("t.x=9").unwrap();
    let expected = "a = 1\nb = 'second'\nlist = [3]\nt = { x = 9, y = 2, z = 3 }";
    assert_eq!(layered.value(), toml::from_str(expected).unwrap());
    for (key, origin) in [
        ("a", "base.toml:1"),
        ("b", "second.toml:1"),
        ("list[0]", "second.toml:2"),
        ("t.x", "--set t.x=9"),
        ("t.y", "sub/first.toml:4"),
        ("t.z", "run.toml:3"),
    ] {
        assert_eq!(inside(&folder, layered.origin(key).unwrap()), origin);
    }
    assert_eq!(layered.origin("t.w"), None);
    let sources: Vec<_> = layered.sources().map(|source| inside(&folder, &source.name)).collect();
    assert_eq!(sources, ["base.toml", "sub/first.toml", "second.toml", "run.toml", "--set"]);
}

#[test]
fn a_table_of_another_type_is_replaced() {
    let mut layered = Layered::from_str("run.toml", GOOD).unwrap();
    layered.set("model.depth=6").unwrap();
    assert_eq!(layered.value()["model"].as_table().unwrap().len(), 3);
    layered.set("model={ type = 'unet', channels = 32 }").unwrap();
    layered.set("model.type=unet").unwrap();
    let model: toml::Table = toml::from_str("type = 'unet'\nchannels = 32").unwrap();
    assert_eq!(layered.value()["model"].as_table(), Some(&model));
    assert!(resolve::<Experiment>(&layered).is_ok());
}

#[test]
fn what_cannot_be_extended_is_said() {
    let folder = folder(&[
        ("a.toml", "x = 1\nextends = 'b.toml'\n"),
        ("b.toml", "extends = ['./a.toml']\n"),
        ("gone.toml", "\nextends = ['a/../c.toml']\n"),
        ("typed.toml", "extends = ['a.toml', 3]\n"),
        ("broken.toml", "x = 1\ny = \nz = 3\n"),
        ("over-broken.toml", "extends = 'broken.toml'"),
        ("deep.toml", "[model]\nextends = 'a.toml'\n"),
    ]);
    let said = |name: &str| inside(&folder, Layered::load(folder.path().join(name)).unwrap_err());
    assert_eq!(
        said("a.toml"),
        "b.toml:1: extends: the files extend each other in a circle: a.toml -> b.toml -> a.toml"
    );
    assert_eq!(said("gone.toml"), "gone.toml:2: extends: cannot read `c.toml`: No such file or directory (os error 2)");
    assert_eq!(said("typed.toml"), "typed.toml:1: extends: expected a path or a list of paths");
    assert!(said("over-broken.toml").starts_with("broken.toml:2: not TOML: "), "{}", said("over-broken.toml"));
    assert_eq!(said("none.toml"), "cannot read `none.toml`: No such file or directory (os error 2)");
    let deep = resolve::<Experiment>(&Layered::load(folder.path().join("deep.toml")).unwrap()).unwrap_err();
    assert!(deep.to_string().contains("missing required key `type`"), "{deep}");
}

#[test]
fn a_resolved_file_shows_its_origins() {
    let mut layered = Layered::from_str("run.toml", GOOD).unwrap();
    layered.set("train.limit={ hours = 2 }").unwrap();
    layered.set("name=\"a\\n#b\"").unwrap();
    let experiment: Experiment = resolve(&layered).unwrap();
    let resolved = toml::Table::try_from(&experiment).unwrap();
    let shown = layered.to_toml_with_origins(&resolved);
    assert_eq!(toml::from_str::<toml::Table>(&shown).unwrap(), resolved);
    assert_eq!(typed(&shown).unwrap(), experiment);
    for line in [
        "seed = 0  # default",
        "depth = 12      # run.toml:5",
        "dropout = 0.0   # default",
        "batch = 64           # default",
        "betas = [0.9, 0.99]  # run.toml:10",
        "hours = 2.0  # --set train.limit={ hours = 2 }",
        "steps = [0.5, 1.0]  # run.toml:19",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

fn value() -> impl Strategy<Value = toml::Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(toml::Value::Integer),
        any::<bool>().prop_map(toml::Value::Boolean),
        "[a-c\"'\n#]{0,4}".prop_map(toml::Value::String),
        (-1e9..1e9).prop_map(toml::Value::Float),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::Array),
            table_of(inner).prop_map(toml::Value::Table),
        ]
    })
}

fn table_of(value: impl Strategy<Value = toml::Value>) -> impl Strategy<Value = toml::Table> {
    prop::collection::vec(("[a-d]|type|x y", value), 0..4).prop_map(|entries| entries.into_iter().collect())
}

fn layered(table: &toml::Table) -> Layered {
    Layered::from_str("x.toml", &toml::to_string(table).unwrap()).unwrap()
}

/// `a` with `b` laid over it, by files.
fn over(a: &toml::Table, b: &toml::Table) -> toml::Table {
    let folder = folder(&[
        ("a.toml", &toml::to_string(a).unwrap()),
        ("b.toml", &format!("extends = 'a.toml'\n{}", toml::to_string(b).unwrap())),
    ]);
    Layered::load(folder.path().join("b.toml")).unwrap().value()
}

/// Whether all that `part` says stands in `whole`.
fn holds(whole: &toml::Value, part: &toml::Value) -> bool {
    match (whole, part) {
        (toml::Value::Table(whole), toml::Value::Table(part)) => {
            part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| holds(whole, part)))
        }
        _ => whole == part,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn merging_is_idempotent_and_the_later_layer_holds(a in table_of(value()), b in table_of(value())) {
        let empty = toml::Table::new();
        prop_assert_eq!(&over(&a, &empty), &a);
        prop_assert_eq!(&over(&empty, &a), &a);
        prop_assert_eq!(&over(&a, &a), &a);
        let both = over(&a, &b);
        prop_assert_eq!(&over(&both, &b), &both);
        prop_assert!(holds(&both.into(), &b.into()));
    }

    #[test]
    fn a_shown_table_reads_back(table in table_of(value())) {
        let shown = layered(&table).to_toml_with_origins(&table);
        prop_assert_eq!(toml::from_str::<toml::Table>(&shown).unwrap(), table);
    }

    #[test]
    fn any_value_has_an_origin_whose_text_says_it(table in table_of(value())) {
        let layered = layered(&table);
        for (name, value) in table.iter().filter(|(_, value)| !value.is_table()) {
            let origin = layered.origin(&crate::key::entry("", name)).unwrap();
            let text = format!("v = {}", &origin.source.text[origin.span.clone()]);
            prop_assert!(value.is_array() || toml::from_str::<toml::Table>(&text).unwrap()["v"] == *value);
        }
    }
}

#[test]
fn a_part_can_stand_alone_and_the_rest_is_checked_if_it_is_there() {
    #[derive(Debug, serde::Deserialize)]
    struct Part {
        train: super::Train,
    }
    let part = |text: &str| resolve_part::<Experiment, Part>(&Layered::from_str("part.toml", text).unwrap());
    assert_eq!(part("[train]\nimages = 3").unwrap().train.images, 3);
    assert!(part(GOOD).is_ok());
    for (text, said) in [
        ("nam = 'run'\n[train]\nimages = 3", "part.toml:1: nam: unknown key (did you mean `name`?"),
        ("[train]\nimages = 3\n[model]\ntype = 'dit'\ndepth = 2", "model.patch_size: missing"),
        ("name = 'run'", "missing field `train`"),
    ] {
        let error = part(text).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
