//! Identifiers 8001 to 99: special applications, coupons and company-internal data.

use super::{AiSpec, Component, ai, ai_range, chars_to, digits, digits_to};
use crate::gs1::charset::CharSet;
use crate::gs1::lint::Lint::{
    CheckDigit, CheckPair, CompanyPrefix, CompanyPrefixAfterDigit, Coupon, CouponPositiveOffer, Day,
    HasNonDigit, Hour, Iban, Minute, NoLeadingZero, NonZero, PieceOfTotal, Second, Winding, Zero,
};

const TEXT_20: &[Component] = &[chars_to(20)];
const PIECE: &[Component] =
    &[digits(14).lint(&[CheckDigit, CompanyPrefixAfterDigit]), digits(4).lint(&[PieceOfTotal])];
const GSRN: &[Component] = &[digits(18).lint(&[CheckDigit, CompanyPrefix])];
const FIFTEEN_DIGITS: &[Component] = &[digits(15)];

pub(super) static ROWS: &[AiSpec] = &[
    ai(
        "8001",
        "DIMENSIONS",
        &[
            digits(4).lint(&[NonZero]),
            digits(5).lint(&[NonZero]),
            digits(3).lint(&[NonZero]),
            digits(1).lint(&[Winding]),
            digits(1),
        ],
    )
    .attribute()
    .requires("01"),
    ai("8002", "CMT No.", TEXT_20).attribute(),
    ai(
        "8003",
        "GRAI",
        &[digits(1).lint(&[Zero]), digits(13).lint(&[CheckDigit, CompanyPrefix]), chars_to(16).optional()],
    )
    .attribute()
    .key(""),
    ai("8004", "GIAI", &[chars_to(30).lint(&[CompanyPrefix])]).attribute().key("7040"),
    ai("8005", "PRICE PER UNIT", &[digits(6)]).attribute().requires("01,02"),
    ai("8006", "ITIP", PIECE).attribute().excludes("01,03,37").key("22,10,21"),
    ai("8007", "IBAN", &[chars_to(34).lint(&[Iban])]).attribute().requires("415"),
    ai(
        "8008",
        "PROD TIME",
        &[
            digits(6).lint(&[Day]),
            digits(2).lint(&[Hour]),
            digits(2).lint(&[Minute]).optional(),
            digits(2).lint(&[Second]).optional(),
        ],
    )
    .attribute()
    .requires("01,02,03"),
    ai("8009", "OPTSEN", &[chars_to(50)]).attribute().requires("00,01,03"),
    ai("8010", "CPID", &[Component::of(CharSet::Set39, 1, 30).lint(&[CompanyPrefix])])
        .attribute()
        .key("8011"),
    ai("8011", "CPID SERIAL", &[digits_to(12).lint(&[NoLeadingZero])]).requires("8010"),
    ai("8012", "VERSION", TEXT_20).attribute().requires("01,03,8006"),
    ai("8013", "GMN", &[chars_to(25).lint(&[CheckPair, CompanyPrefix])]).attribute().key(""),
    ai("8014", "MUDI", &[chars_to(25).lint(&[CheckPair, CompanyPrefix, HasNonDigit])]).requires("01"),
    ai("8017", "GSRN - PROVIDER", GSRN).attribute().excludes("8018").key("8019"),
    ai("8018", "GSRN - RECIPIENT", GSRN).attribute().excludes("8017").key("8019"),
    ai("8019", "SRIN", &[digits_to(10)]).requires("8017,8018"),
    ai("8020", "REF No.", &[chars_to(25)]).requires("415"),
    ai("8026", "ITIP CONTENT", PIECE).attribute().requires("37").excludes("02,03,8006"),
    ai("8030", "DIGSIG", &[Component::of(CharSet::Base64Url, 1, 90)])
        .attribute()
        .requires("00,01+21,03+21,253,255,8003,8004,8006+21,8010+8011,8017,8018"),
    ai("8040", "IMEI", FIFTEEN_DIGITS).requires("01+21"),
    ai("8041", "IMEI2", FIFTEEN_DIGITS).requires("01+21+8040"),
    ai("8042", "ESIM", &[digits(32)]).requires("01+21+8040"),
    ai("8043", "PSIM", &[digits(18), digits_to(2).optional()]).requires("01+21+8040"),
    ai("8110", "", &[chars_to(70).lint(&[Coupon])]).attribute(),
    ai("8111", "POINTS", &[digits(4)]).attribute().requires("255"),
    ai("8112", "", &[chars_to(70).lint(&[CouponPositiveOffer])]).attribute(),
    ai("8200", "PRODUCT URL", &[chars_to(70)]).requires("01"),
    ai("90", "INTERNAL", &[chars_to(30)]).attribute(),
    ai_range("91", "99", "INTERNAL", &[chars_to(90)]).attribute(),
];
