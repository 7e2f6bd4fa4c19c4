//! Kubernetes: one indexed job, whose pods find their cell by their index.

use std::fmt::Write;
use std::path::Path;

use super::{JobFile, Resources, shown};
use crate::Index;

/// Where the volume stands in a pod.
const MOUNT: &str = "/work";
/// Failures of a cell after which it is given up.
const BACKOFF: u32 = 2;

/// `kubernetes.yaml`, for `kubectl apply -f`. A cell whose needs are not done yet ends with 75, as one that stopped early
/// does: such ends count as no failure, and the pod is made again.
pub fn kubernetes(index: &Index, folder: &Path, resources: &Resources) -> Vec<JobFile> {
    let Resources { program, cpus, gpus, memory, image, volume, .. } = resources;
    let count = index.cells.len();
    let parallelism = resources.at_a_time.map_or(count, |most| (most as usize).min(count));
    // JSON's strings are YAML's.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let command = [program, "train", "--cell", &shown(folder)].map(quoted).join(", ");
    let name = format!("{}-{}", index.sweep.name, index.tier).to_lowercase().replace('_', "-");
    let mut text = format!(
        "apiVersion: batch/v1\n\
         kind: Job\n\
         metadata:\n  name: {name}\n\
         spec:\n  \
           completionMode: Indexed\n  \
           completions: {count}\n  \
           parallelism: {parallelism}\n  \
           backoffLimitPerIndex: {BACKOFF}\n  \
           maxFailedIndexes: {count}\n  \
           podFailurePolicy:\n    \
             rules:\n      \
               - action: Ignore\n        \
                 onExitCodes: {{ operator: In, values: [75] }}\n      \
               - action: Ignore\n        \
                 onPodConditions: [{{ type: DisruptionTarget }}]\n  \
           template:\n    \
             spec:\n      \
               restartPolicy: Never\n      \
               containers:\n        \
                 - name: cell\n          \
                   image: {}\n          \
                   workingDir: {MOUNT}\n          \
                   command: [{command}]\n          \
                   resources:\n            \
                     requests: {{ cpu: {cpus}, memory: {memory}Gi }}\n            \
                     limits: {{ memory: {memory}Gi",
        quoted(image),
    );
    if *gpus > 0 {
        let _ = write!(text, ", nvidia.com/gpu: {gpus}");
    }
    let _ = write!(
        text,
        " }}\n          \
                   volumeMounts: [{{ name: work, mountPath: {MOUNT} }}]\n      \
               volumes:\n        \
                 - name: work\n          \
                   persistentVolumeClaim: {{ claimName: {} }}\n",
        quoted(volume),
    );
    vec![JobFile { name: "kubernetes.yaml".into(), text, executable: false }]
}
