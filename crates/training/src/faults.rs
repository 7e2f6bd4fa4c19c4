//! Faults on request, so that tests can show what a run does about them.

use sinter_data::Batch;

/// Environment variable `SINTER_FAULT=nan@STEP`: a NaN stands in the batch of that step.
const VARIABLE: &str = "SINTER_FAULT";

/// The batch as it is, unless a fault is asked for at this step.
pub(crate) fn inject(mut batch: Batch, step: u64) -> Batch {
    let asked = std::env::var(VARIABLE).ok();
    let at = asked.as_deref().and_then(|fault| fault.strip_prefix("nan@")).and_then(|step| step.parse().ok());
    if at == Some(step)
        && let Some(pixel) = batch.pixels.first_mut()
    {
        *pixel = f32::NAN;
    }
    batch
}
