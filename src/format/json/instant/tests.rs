//! Instants of RFC 3339, near and far.

use super::*;
use proptest::prelude::*;

#[test]
fn the_forms_of_rfc_3339_are_read() {
    let ms = 1_714_521_600_123;
    for text in [
        "2024-05-01T00:00:00.123Z",
        "2024-05-01t00:00:00.123z",
        "2024-05-01 00:00:00.123+00:00",
        "2024-05-01T00:00:00.123-00:00",
        "2024-05-01T08:00:00.123+08:00",
        "2024-04-30T18:30:00.123-05:30",
        "2024-05-01T00:00:00.1239999999999999999Z",
    ] {
        assert_eq!(parse_instant(text), Some(ms), "{text}");
    }
    assert_eq!(parse_instant("2024-05-01T00:00:00.1Z"), Some(ms - 23));
    assert_eq!(parse_instant("1969-12-31T23:59:59.9999Z"), Some(-1));
    assert_eq!(parse_instant("2016-12-31T23:59:60Z"), parse_instant("2017-01-01T00:00:00Z"));
    assert_eq!(parse_instant("9999-12-31T23:59:59.999Z"), Some(253_402_300_799_999));
    assert_eq!(parse_instant("0000-01-01T00:00:00Z"), Some(-62_167_219_200_000));
}

#[test]
fn what_is_no_instant_is_refused() {
    for text in [
        "",
        "2024-05-01",
        "2024-05-01T00:00:00",
        "2024-05-01T00:00Z",
        "2024-05-01T24:00:00Z",
        "2024-05-01T00:60:00Z",
        "2024-05-01T00:00:61Z",
        "2024-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-05-01T00:00:00.Z",
        "2024-05-01T00:00:00,5Z",
        "2024-05-01T00:00:00+0800",
        "2024-05-01T00:00:00+08",
        "2024-05-01T00:00:00+24:00",
        "2024-05-01T00:00:00+08:60",
        "2024-05-01T00:00:00Zx",
        " 2024-05-01T00:00:00Z",
        "2024-05-01_00:00:00Z",
        "12024-05-01T00:00:00Z",
        "２024-05-01T00:00:00Z",
        "1714521600000",
    ] {
        assert_eq!(parse_instant(text), None, "{text}");
    }
    assert_eq!(parse_local("2024-05-01T00:00:00Z"), None);
    assert_eq!(parse_local("1970-01-02T00:00:00.5"), Some(86_400_500));
    assert_eq!(parse_date("2024-05-01T"), None);
    assert_eq!(parse_date("2024-02-29"), Some(19_782));
    assert_eq!(parse_date("2023-02-29"), None);
}

proptest! {
    #[test]
    fn instants_agree_with_chrono(ms in -62_167_219_200_000..253_402_300_799_999_i64, minutes in -1439..1440_i32) {
        let offset = chrono::FixedOffset::east_opt(minutes * 60).unwrap();
        let instant = DateTime::from_timestamp_millis(ms).unwrap().with_timezone(&offset);
        prop_assume!((0..=9999).contains(&instant.year()));
        prop_assert_eq!(parse_instant(&instant.to_rfc3339_opts(chrono::SecondsFormat::Millis, false)), Some(ms));
    }

    #[test]
    fn an_instant_is_written_as_chrono_writes_it_and_read_back(
        ms in prop_oneof![-62_167_219_200_000..253_402_300_799_999_i64, 0..9_223_372_036_000_i64],
        zone in proptest::sample::select(vec![Tz::Asia__Shanghai, Tz::America__New_York, Tz::Australia__Lord_Howe]),
    ) {
        let mut text = Vec::new();
        prop_assert!(InstantWriter::new(zone).write(ms, &mut text));
        let text = String::from_utf8(text).unwrap();
        prop_assert_eq!(parse_instant(&text), Some(ms));
        let local = DateTime::from_timestamp_millis(ms).unwrap().with_timezone(&zone);
        if ms > 0 && local.year() <= 9999 {
            prop_assert_eq!(text, local.to_rfc3339_opts(chrono::SecondsFormat::Millis, false));
        }
    }

    #[test]
    fn the_remembered_offset_is_that_of_each_instant(base in 0..4_000_000_000_000_i64, steps in prop::collection::vec(0..7_200_000_i64, 1..99)) {
        let mut writer = InstantWriter::new(Tz::Europe__Berlin);
        for step in steps {
            let (mut once, mut again) = (Vec::new(), Vec::new());
            writer.write(base + step, &mut once);
            InstantWriter::new(Tz::Europe__Berlin).write(base + step, &mut again);
            prop_assert_eq!(once, again);
        }
    }

    #[test]
    fn no_text_and_no_number_panics(text in "\\PC*", ms in any::<i64>()) {
        parse_instant(&text);
        parse_local(&text);
        parse_date(&text);
        let mut out = Vec::new();
        InstantWriter::new(Tz::Europe__Berlin).write(ms, &mut out);
        write_local(ms, &mut out);
        write_date(ms, &mut out);
    }
}
