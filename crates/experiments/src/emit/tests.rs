use super::*;
use crate::{Cell, Kind, Selection};

fn index() -> Index {
    let sweep = toml::from_str("name = 'a-b'\ntitle = 'A'\nquestion = '?'\nseeds = [1]\nmetrics = []\n[tiers.smoke]\n")
        .unwrap();
    let cell = |number: usize, needs: &[&str]| Cell {
        number,
        hash: format!("h{number}"),
        kind: Kind::Train,
        label: format!("c{number}"),
        levels: Selection::new(),
        seed: 1,
        prepared: false,
        needs: needs.iter().map(ToString::to_string).collect(),
    };
    let cells = vec![cell(0, &[]), cell(1, &["h0"]), cell(2, &["h0", "h1"]), cell(3, &[]), cell(4, &["h1"])];
    Index { tier: "smoke".into(), file: "x.toml".into(), sweep, tune: None, cells }
}

#[test]
fn cells_wait_for_what_they_need() {
    assert_eq!(stages(&index()), [vec![0, 3], vec![1], vec![2, 4]]);
    assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
}

#[test]
fn slurm_submits_stage_after_stage() {
    let resources = Resources { gpus: 1, at_a_time: Some(4), partition: Some("short".into()), ..Resources::default() };
    let files = slurm(&index(), Path::new("runs/sweeps/a-b/smoke"), &resources);
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["slurm-0.sh", "slurm-1.sh", "slurm-2.sh", "slurm-submit.sh"]);
    for line in ["#SBATCH --array=2,4%4", "#SBATCH --requeue", "#SBATCH --gpus-per-task=1", "#SBATCH --partition=short"]
    {
        assert!(files[2].text.lines().any(|other| other == line), "{}", files[2].text);
    }
    assert!(files[2].text.contains("sinter train --cell runs/sweeps/a-b/smoke &"));
    assert_eq!(files[3].text.matches("--dependency=afterok:$job").count(), 2);
}

/// The shell agrees that the scripts are scripts, and does with a job's end what they say.
#[cfg(unix)]
#[test]
fn a_shell_takes_the_scripts() {
    use std::process::Command;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("cell");
    for file in slurm(&index(), folder.path(), &Resources::default()) {
        let path = folder.path().join(&file.name);
        std::fs::write(&path, &file.text).unwrap();
        assert!(Command::new("bash").arg("-n").arg(&path).status().unwrap().success(), "{}", file.text);
    }
    let resources = Resources { program: program.display().to_string(), ..Resources::default() };
    let script = folder.path().join("slurm-0.sh");
    std::fs::write(&script, &slurm(&index(), folder.path(), &resources)[0].text).unwrap();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let executable = |path: &Path, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    executable(&bin.join("scontrol"), &format!("#!/bin/sh\necho \"$@\" >> {}/requeued\n", folder.path().display()));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let run = |code: i32| {
        executable(&program, &format!("#!/bin/sh\nexit {code}\n"));
        let mut command = Command::new("bash");
        command.arg(&script).env("PATH", &path).env("SLURM_ARRAY_JOB_ID", "7").env("SLURM_ARRAY_TASK_ID", "3");
        command.status().unwrap().code()
    };
    assert_eq!((run(0), run(1), run(75)), (Some(0), Some(1), Some(75)));
    assert_eq!(std::fs::read_to_string(folder.path().join("requeued")).unwrap(), "requeue 7_3\n");
}

#[test]
fn hyperqueue_knows_dependencies() {
    let resources = Resources { gpus: 1, ..Resources::default() };
    let file = hyperqueue(&index(), Path::new("runs/sweeps/a-b/smoke"), &resources).remove(0);
    let job: toml::Table = toml::from_str(&file.text).unwrap();
    assert_eq!(job["name"].as_str(), Some("a-b-smoke"));
    let tasks = job["task"].as_array().unwrap();
    assert_eq!(tasks.len(), 5);
    assert_eq!(tasks[2]["deps"].as_array().unwrap(), &[0.into(), 1.into()] as &[toml::Value]);
    assert!(tasks[3].get("deps").is_none());
    assert_eq!(tasks[2]["id"].as_integer(), Some(2));
    assert_eq!(tasks[0]["request"][0]["resources"]["gpus/nvidia"].as_integer(), Some(1));
}

#[test]
fn kubernetes_counts_cells() {
    let text = kubernetes(&index(), Path::new("runs/sweeps/a-b/smoke"), &Resources::default()).remove(0).text;
    for line in ["  completions: 5", "  parallelism: 5", "  completionMode: Indexed"] {
        assert!(text.lines().any(|other| other == line), "{text}");
    }
    assert!(text.contains("command: [\"sinter\", \"train\", \"--cell\", \"runs/sweeps/a-b/smoke\"]"), "{text}");
    assert!(!text.contains("nvidia"));
}
