//! `header(_headers, 'name')`: the value of a record's header.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{column, documentation, evaluate};

/// `header`.
pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![ScalarUDF::new_from_impl(Header {
        signature: Signature::user_defined(Volatility::Immutable),
        documentation: documentation(
            "Text",
            "header(headers, name)",
            "The value of the last header of that name, as Kafka's clients take it; null where there is none. Takes the \
             pseudo-column _headers and a VARCHAR, and yields VARCHAR.",
        ),
    })]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Header {
    signature: Signature,
    documentation: Documentation,
}

impl ScalarUDFImpl for Header {
    fn name(&self) -> &str {
        "header"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [headers @ DataType::List(item), name] if name.is_string() || name.is_null() => match item.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => Ok(vec![headers.clone(), DataType::Utf8]),
                _ => plan_err!("header takes _headers and a VARCHAR"),
            },
            _ => plan_err!("header takes _headers and a VARCHAR"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        evaluate(&args, |columns| {
            let (headers, names) = (column(columns, 0)?, column(columns, 1)?);
            let (Some(headers), Some(names)) = (headers.as_list_opt::<i32>(), names.as_string_opt::<i32>()) else {
                return exec_err!("header takes _headers and a VARCHAR");
            };
            let Some(entries) = headers.values().as_struct_opt() else { return exec_err!("a header is a struct") };
            let texts = |idx: usize| -> Result<StringArray> {
                let text: ArrayRef = cast(entries.column(idx), &DataType::Utf8)?;
                Ok(text.as_string::<i32>().clone())
            };
            let (known, values) = (texts(0)?, texts(1)?);
            let mut found = StringBuilder::new();
            for row in 0..headers.len() {
                let range = headers.value_offsets()[row] as usize..headers.value_offsets()[row + 1] as usize;
                let is_it = |entry: &usize| known.is_valid(*entry) && known.value(*entry) == names.value(row);
                let last = match headers.is_valid(row) && names.is_valid(row) {
                    true => range.rev().find(is_it),
                    false => None,
                };
                found.append_option(last.filter(|entry| values.is_valid(*entry)).map(|entry| values.value(entry)));
            }
            Ok(Arc::new(found.finish()))
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}
