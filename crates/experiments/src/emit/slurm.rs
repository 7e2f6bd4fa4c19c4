//! Slurm: an array job a stage, and a script that submits them one after the other.

use std::fmt::Write;
use std::path::Path;

use super::{JobFile, Resources, quoted, ranges, shown, stages};
use crate::Index;

/// Seconds before the time limit at which a cell is told to write its checkpoint.
const WARNING: u32 = 120;

/// `slurm-<stage>.sh`, one array job a stage, and `slurm-submit.sh`.
pub fn slurm(index: &Index, folder: &Path, resources: &Resources) -> Vec<JobFile> {
    let stages = stages(index);
    let folder_name = shown(folder);
    let mut submit = format!(
        "#!/bin/sh\n# Submits the cells of {}, {}: run it where the sweep was expanded.\nset -e\n",
        index.sweep.name, index.tier
    );
    let mut files = Vec::new();
    for (stage, numbers) in stages.iter().enumerate() {
        let name = format!("slurm-{stage}.sh");
        files.push(JobFile {
            name: name.clone(),
            text: script(index, &folder_name, numbers, resources),
            executable: true,
        });
        let path = quoted(&format!("{folder_name}/{name}"));
        let after = if stage == 0 { "" } else { " --dependency=afterok:$job" };
        let _ = writeln!(submit, "job=$(sbatch --parsable{after} {path})\necho \"stage {stage}: job $job\"");
    }
    files.push(JobFile { name: "slurm-submit.sh".into(), text: submit, executable: true });
    files
}

fn script(index: &Index, folder: &str, numbers: &[usize], resources: &Resources) -> String {
    let Resources { program, cpus, gpus, memory, minutes, .. } = resources;
    let throttle = resources.at_a_time.map(|most| format!("%{most}")).unwrap_or_default();
    let mut text = format!(
        "#!/bin/bash\n\
         #SBATCH --job-name={}-{}\n\
         #SBATCH --array={}{throttle}\n\
         #SBATCH --cpus-per-task={cpus}\n\
         #SBATCH --mem={memory}G\n\
         #SBATCH --time={minutes}\n\
         #SBATCH --requeue\n\
         #SBATCH --open-mode=append\n\
         #SBATCH --signal=B:TERM@{WARNING}\n\
         #SBATCH --output={folder}/slurm-%a.log\n",
        index.sweep.name,
        index.tier,
        ranges(numbers),
    );
    if *gpus > 0 {
        let _ = writeln!(text, "#SBATCH --gpus-per-task={gpus}");
    }
    if let Some(partition) = &resources.partition {
        let _ = writeln!(text, "#SBATCH --partition={partition}");
    }
    // The signal reaches this shell alone; `wait` is what it interrupts, and the second one waits for the checkpoint.
    let _ = write!(
        text,
        "\n\
         {} train --cell {} &\n\
         cell=$!\n\
         trap 'kill -TERM $cell' TERM\n\
         wait $cell\n\
         code=$?\n\
         if [ $code -gt 128 ]; then wait $cell; code=$?; fi\n\
         # 75: stopped early, and goes on when it is run again.\n\
         if [ $code -eq 75 ]; then\n    \
             scontrol requeue \"${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}\"\n\
         fi\n\
         exit $code\n",
        quoted(program),
        quoted(folder),
    );
    text
}
