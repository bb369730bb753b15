//! `sum` and `avg`: integers, durations and decimals as wide integers, floats exactly.
//!
//! Integer sums wrap in 128 bits (decimals of 256 in 256), so that taking a value back is always exact. A result outside
//! its type wraps as DataFusion's does; an average outside its type is null.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Float64Array, Int64Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, DecimalType, Float64Type, Int64Type, UInt64Type, i256,
};

use super::{Kernel, split_i64};
use crate::operators::OperatorError;
use crate::operators::exact_sum::ExactSum;

/// What becomes of a sum and a count.
#[derive(Clone, Debug)]
pub(super) struct SumOutput {
    average: bool,
    output: DataType,
    /// What an averaged decimal is multiplied by before the division: it gains digits after the point.
    factor: i256,
}

impl SumOutput {
    /// None if there is no such sum.
    pub fn new(average: bool, argument: &DataType, output: &DataType) -> Option<Self> {
        use DataType::{Decimal32, Decimal64, Decimal128, Decimal256, Duration, Float64, Int64, UInt64};
        let scale = |t: &DataType| match t {
            Decimal32(_, s) | Decimal64(_, s) | Decimal128(_, s) | Decimal256(_, s) => Some(*s),
            _ => None,
        };
        let mut factor = i256::ONE;
        let fits = match (argument, output) {
            (a, Float64) => a.is_floating() || (average && a.is_integer()),
            (a, Int64 | UInt64) => !average && a.is_integer(),
            (Duration(a), Duration(b)) => a == b,
            (a, b) => match (scale(a), scale(b)) {
                (Some(from), Some(to)) if average && to >= from => {
                    factor = i256::from_i128(10).checked_pow((to - from) as u32)?;
                    true
                }
                (Some(from), Some(to)) => from == to,
                _ => false,
            },
        };
        fits.then(|| Self { average, output: output.clone(), factor })
    }

    fn integers(&self, sums: impl Iterator<Item = (i128, i64)>) -> Result<ArrayRef, OperatorError> {
        let divide = |(sum, n): (i128, i64)| match n {
            n if n <= 0 => None,
            n if self.average => Some(sum / i128::from(n)),
            _ => Some(sum),
        };
        Ok(match &self.output {
            DataType::Float64 => {
                let average = |(sum, n): (i128, i64)| (n > 0).then(|| sum as f64 / n as f64);
                Arc::new(sums.map(average).collect::<Float64Array>())
            }
            DataType::UInt64 => Arc::new(sums.map(|s| divide(s).map(|v| v as u64)).collect::<UInt64Array>()),
            DataType::Int64 => Arc::new(sums.map(|s| divide(s).map(|v| v as i64)).collect::<Int64Array>()),
            DataType::Duration(_) => {
                cast(&sums.map(|s| divide(s).map(|v| v as i64)).collect::<Int64Array>(), &self.output)?
            }
            DataType::Decimal128(precision, scale) if !self.average => {
                let sums: Decimal128Array = sums.map(divide).collect();
                Arc::new(sums.with_precision_and_scale(*precision, *scale)?)
            }
            _ => return self.decimals(sums.map(|(sum, n)| (i256::from_i128(sum), n))),
        })
    }

    fn decimals(&self, sums: impl Iterator<Item = (i256, i64)>) -> Result<ArrayRef, OperatorError> {
        let (precision, scale) = match &self.output {
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => (*p, *s),
            DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => (*p, *s),
            other => return Err(OperatorError::Function(format!("no decimal sum as {other}"))),
        };
        let value = |(sum, n): (i256, i64)| match n {
            n if n <= 0 => None,
            n if self.average => sum
                .checked_mul(self.factor)
                .map(|s| s.wrapping_div(i256::from_i128(i128::from(n))))
                .filter(|v| Decimal256Type::validate_decimal_precision(*v, precision, scale).is_ok()),
            _ => Some(sum),
        };
        let wide = sums.map(value);
        Ok(match &self.output {
            DataType::Decimal256(..) => {
                Arc::new(wide.collect::<Decimal256Array>().with_precision_and_scale(precision, scale)?)
            }
            _ => {
                let narrow: Decimal128Array = wide.map(|v| v.map(i256::as_i128)).collect();
                let precise = narrow.with_precision_and_scale(Decimal128Type::MAX_PRECISION, scale)?;
                cast(&precise, &self.output)?
            }
        })
    }
}

/// Sums of integers, durations and decimals of up to 128 bits.
#[derive(Debug)]
pub(super) struct IntegerSums {
    how: SumOutput,
    sums: Vec<(i128, i64)>,
}

impl IntegerSums {
    pub fn new(how: SumOutput) -> Self {
        Self { how, sums: Vec::new() }
    }

    fn add<T>(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64])
    where
        T: ArrowPrimitiveType,
        T::Native: Into<i128>,
    {
        let values = values.as_primitive::<T>().values();
        for ((group, value), weight) in groups.iter().zip(values.iter()).zip(weights) {
            if *weight != 0 {
                let (sum, n) = &mut self.sums[*group as usize];
                *sum = sum.wrapping_add((*value).into().wrapping_mul(i128::from(*weight)));
                *n = n.wrapping_add(*weight);
            }
        }
    }
}

impl Kernel for IntegerSums {
    fn resize(&mut self, n_groups: usize) {
        self.sums.resize(n_groups.max(self.sums.len()), (0, 0));
    }

    fn update(&mut self, groups: &[u32], argument: Option<&ArrayRef>, weights: &[i64]) -> Result<(), OperatorError> {
        let Some(values) = argument else { return Ok(()) };
        match values.data_type() {
            DataType::UInt64 => self.add::<UInt64Type>(groups, values, weights),
            DataType::Decimal128(..) => self.add::<Decimal128Type>(groups, values, weights),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => {
                let wide = cast(values, &DataType::Decimal128(Decimal128Type::MAX_PRECISION, *scale))?;
                self.add::<Decimal128Type>(groups, &wide, weights);
            }
            DataType::Int64 => self.add::<Int64Type>(groups, values, weights),
            _ => self.add::<Int64Type>(groups, &cast(values, &DataType::Int64)?, weights),
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, OperatorError> {
        self.how.integers(groups.iter().map(|g| self.sums[*g as usize]))
    }

    fn is_zero(&self, group: u32) -> bool {
        self.sums[group as usize] == (0, 0)
    }

    fn clear(&mut self, groups: &[u32]) {
        groups.iter().for_each(|g| self.sums[*g as usize] = (0, 0));
    }

    fn write(&self, group: u32, out: &mut Vec<u8>) {
        let (sum, n) = self.sums[group as usize];
        out.extend_from_slice(&n.to_le_bytes());
        out.extend_from_slice(&sum.to_le_bytes());
    }

    fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let (n, rest) = split_i64(bytes)?;
        self.sums[group as usize] = (i128::from_le_bytes(rest.try_into().ok()?), n);
        Some(())
    }

    fn absorb(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let (n, rest) = split_i64(bytes)?;
        let (sum, count) = &mut self.sums[group as usize];
        *sum = sum.wrapping_add(i128::from_le_bytes(rest.try_into().ok()?));
        *count = count.wrapping_add(n);
        Some(())
    }

    fn size_bytes(&self) -> usize {
        self.sums.capacity() * size_of::<(i128, i64)>()
    }
}

/// Sums of decimals of 256 bits.
#[derive(Debug)]
pub(super) struct WideSums {
    how: SumOutput,
    sums: Vec<(i256, i64)>,
}

impl WideSums {
    pub fn new(how: SumOutput) -> Self {
        Self { how, sums: Vec::new() }
    }
}

impl Kernel for WideSums {
    fn resize(&mut self, n_groups: usize) {
        self.sums.resize(n_groups.max(self.sums.len()), (i256::ZERO, 0));
    }

    fn update(&mut self, groups: &[u32], argument: Option<&ArrayRef>, weights: &[i64]) -> Result<(), OperatorError> {
        let Some(values) = argument else { return Ok(()) };
        let values = values.as_primitive::<Decimal256Type>().values();
        for ((group, value), weight) in groups.iter().zip(values.iter()).zip(weights) {
            if *weight != 0 {
                let (sum, n) = &mut self.sums[*group as usize];
                *sum = sum.wrapping_add(value.wrapping_mul(i256::from_i128(i128::from(*weight))));
                *n = n.wrapping_add(*weight);
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, OperatorError> {
        self.how.decimals(groups.iter().map(|g| self.sums[*g as usize]))
    }

    fn is_zero(&self, group: u32) -> bool {
        self.sums[group as usize] == (i256::ZERO, 0)
    }

    fn clear(&mut self, groups: &[u32]) {
        groups.iter().for_each(|g| self.sums[*g as usize] = (i256::ZERO, 0));
    }

    fn write(&self, group: u32, out: &mut Vec<u8>) {
        let (sum, n) = self.sums[group as usize];
        out.extend_from_slice(&n.to_le_bytes());
        out.extend_from_slice(&sum.to_le_bytes());
    }

    fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let (n, rest) = split_i64(bytes)?;
        self.sums[group as usize] = (i256::from_le_bytes(rest.try_into().ok()?), n);
        Some(())
    }

    fn absorb(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let (n, rest) = split_i64(bytes)?;
        let (sum, count) = &mut self.sums[group as usize];
        *sum = sum.wrapping_add(i256::from_le_bytes(rest.try_into().ok()?));
        *count = count.wrapping_add(n);
        Some(())
    }

    fn size_bytes(&self) -> usize {
        self.sums.capacity() * size_of::<(i256, i64)>()
    }
}

/// Sums of floats.
#[derive(Debug)]
pub(super) struct FloatSums {
    how: SumOutput,
    sums: Vec<(ExactSum, i64)>,
    heap_bytes: usize,
}

impl FloatSums {
    pub fn new(how: SumOutput) -> Self {
        Self { how, sums: Vec::new(), heap_bytes: 0 }
    }
}

impl Kernel for FloatSums {
    fn resize(&mut self, n_groups: usize) {
        self.sums.resize(n_groups.max(self.sums.len()), Default::default());
    }

    fn update(&mut self, groups: &[u32], argument: Option<&ArrayRef>, weights: &[i64]) -> Result<(), OperatorError> {
        let Some(values) = argument else { return Ok(()) };
        let values = cast(values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>().values();
        for ((group, value), weight) in groups.iter().zip(values.iter()).zip(weights) {
            if *weight != 0 {
                let (sum, n) = &mut self.sums[*group as usize];
                let heap_before = sum.heap_bytes();
                sum.add(*value, *weight);
                *n = n.wrapping_add(*weight);
                self.heap_bytes += sum.heap_bytes() - heap_before;
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef, OperatorError> {
        let value = |group: &u32| {
            let (sum, n) = &self.sums[*group as usize];
            (*n > 0).then(|| if self.how.average { sum.value() / *n as f64 } else { sum.value() })
        };
        Ok(Arc::new(groups.iter().map(value).collect::<Float64Array>()))
    }

    fn is_zero(&self, group: u32) -> bool {
        let (sum, n) = &self.sums[group as usize];
        *n == 0 && sum.is_zero()
    }

    fn clear(&mut self, groups: &[u32]) {
        for group in groups {
            let (sum, _) = std::mem::take(&mut self.sums[*group as usize]);
            self.heap_bytes -= sum.heap_bytes();
        }
    }

    fn write(&self, group: u32, out: &mut Vec<u8>) {
        let (sum, n) = &self.sums[group as usize];
        out.extend_from_slice(&n.to_le_bytes());
        sum.write(out);
    }

    fn read(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let (n, rest) = split_i64(bytes)?;
        let sum = ExactSum::read(rest)?;
        self.heap_bytes += sum.heap_bytes();
        let (before, _) = std::mem::replace(&mut self.sums[group as usize], (sum, n));
        self.heap_bytes -= before.heap_bytes();
        Some(())
    }

    fn absorb(&mut self, group: u32, bytes: &[u8]) -> Option<()> {
        let (n, rest) = split_i64(bytes)?;
        let other = ExactSum::read(rest)?;
        let (sum, count) = &mut self.sums[group as usize];
        let heap_before = sum.heap_bytes();
        sum.absorb(&other);
        *count = count.wrapping_add(n);
        self.heap_bytes += sum.heap_bytes() - heap_before;
        Some(())
    }

    fn size_bytes(&self) -> usize {
        self.sums.capacity() * size_of::<(ExactSum, i64)>() + self.heap_bytes
    }
}
