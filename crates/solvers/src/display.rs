//! Plans as a person reads them.

use std::fmt::{Display, Formatter, Result};

use crate::{Operation, Plan, Quantity, Register};

impl Display for Plan {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (steps, evaluations) = (self.levels().len() - 1, self.evaluations());
        writeln!(formatter, "{}: {steps} steps, {evaluations} evaluations, {} registers", self.name, self.registers)?;
        writeln!(formatter, "{} = {:.6} z at {}", self.label(self.state), self.scale, self.start)?;
        self.operations.iter().try_for_each(|operation| self.write(operation, formatter))
    }
}

impl Plan {
    /// `x` for the state, `r1`, `r2`, ... for the other registers.
    fn label(&self, register: Register) -> String {
        if register == self.state { "x".into() } else { format!("r{}", register.0) }
    }

    fn write(&self, operation: &Operation, formatter: &mut Formatter<'_>) -> Result {
        match operation {
            Operation::Evaluate { input, output, level, quantity } => {
                let quantity = match quantity {
                    Quantity::Data => "data",
                    Quantity::Noise => "noise",
                };
                writeln!(formatter, "  {} = {quantity}({}) at {level}", self.label(*output), self.label(*input))
            }
            Operation::Combine { output, terms } => {
                write!(formatter, "  {} =", self.label(*output))?;
                if terms.is_empty() {
                    write!(formatter, " 0")?;
                }
                for (index, (coefficient, register)) in terms.iter().enumerate() {
                    let sign = match (index, coefficient.is_sign_negative()) {
                        (0, false) => "",
                        (_, true) => " -",
                        (_, false) => " +",
                    };
                    write!(formatter, "{sign} {:.6} {}", coefficient.abs(), self.label(*register))?;
                }
                writeln!(formatter)
            }
            Operation::Noise { output, draw } => writeln!(formatter, "  {} = noise {draw}", self.label(*output)),
            Operation::Clamp { input, output, limit } => {
                writeln!(formatter, "  {} = clamp({}, {limit})", self.label(*output), self.label(*input))
            }
            Operation::Threshold { input, output, ratio, maximum } => {
                let (output, input) = (self.label(*output), self.label(*input));
                writeln!(formatter, "  {output} = threshold({input}, quantile {ratio}, at most {maximum})")
            }
            Operation::State { register, level } => {
                writeln!(formatter, "{} reaches {level}", self.label(*register))
            }
        }
    }
}
