//! Text functions that follow Unicode where SQL's own follow ASCII.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, LargeStringArray, StringArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{column, documentation, evaluate};

/// `unicode_trim`.
pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![ScalarUDF::new_from_impl(UnicodeTrim {
        signature: Signature::user_defined(Volatility::Immutable),
        documentation: documentation(
            "Text",
            "unicode_trim(text)",
            "The text without leading and trailing characters of the Unicode property White_Space: also U+00A0 NO-BREAK SPACE \
             and U+3000 IDEOGRAPHIC SPACE, but not U+FEFF (byte order mark) nor U+200B (zero width space), which do not have \
             it. Takes and yields VARCHAR. Null for null. SQL's TRIM removes U+0020 only.",
        ),
    })]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct UnicodeTrim {
    signature: Signature,
    documentation: Documentation,
}

impl ScalarUDFImpl for UnicodeTrim {
    fn name(&self) -> &str {
        "unicode_trim"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text @ (DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)] => Ok(vec![text.clone()]),
            [DataType::Null] => Ok(vec![DataType::Utf8]),
            [DataType::Dictionary(_, value)] if value.is_string() => Ok(vec![value.as_ref().clone()]),
            _ => plan_err!("unicode_trim takes one VARCHAR"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Utf8))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        evaluate(&args, |columns| {
            let text = column(columns, 0)?;
            // `str::trim` removes exactly the characters of White_Space.
            let trimmed: ArrayRef = match text.data_type() {
                DataType::Utf8 => {
                    Arc::new(text.as_string::<i32>().iter().map(|t| t.map(str::trim)).collect::<StringArray>())
                }
                DataType::LargeUtf8 => {
                    Arc::new(text.as_string::<i64>().iter().map(|t| t.map(str::trim)).collect::<LargeStringArray>())
                }
                DataType::Utf8View => {
                    Arc::new(text.as_string_view().iter().map(|t| t.map(str::trim)).collect::<StringViewArray>())
                }
                other => return exec_err!("unicode_trim: expected text, found {other}"),
            };
            Ok(trimmed)
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn unicode_trim_removes_white_space_and_nothing_else() {
        let ctx = SessionContext::new();
        super::functions().into_iter().for_each(|f| ctx.register_udf(f));
        let trim = async |text: &str| {
            let sql = format!("SELECT unicode_trim('{text}') AS t");
            let batches = ctx.sql(&sql).await.unwrap().collect().await.unwrap();
            arrow::util::display::array_value_to_string(batches[0].column(0), 0).unwrap()
        };
        assert_eq!(trim("\u{3000}\u{a0} 无牌\t\u{2003}").await, "无牌");
        assert_eq!(trim("a b").await, "a b");
        assert_eq!(trim("\u{feff}a\u{200b}").await, "\u{feff}a\u{200b}");
        assert_eq!(trim("\u{3000}").await, "");
    }
}
