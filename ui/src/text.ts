import de from "$catalogue/de.json";
import en from "$catalogue/en.json";
import type { ScreenLanguage, Text } from "./backend/types";

type Key = keyof typeof en;
/** Words that only the ui uses: headings and names for whoever cannot see them. */
type UiKey = Extract<Key, `ui_${string}`>;

const CATALOGUES: Record<ScreenLanguage, Readonly<Record<string, string>>> = {
  en,
  // A key that one language has and the other lacks does not compile.
  de: de satisfies Record<Key, string>,
};
/** The code is the language's; English is written as in "23 Nov 2026", which no English locale does with a short September. */
const DATES: Record<ScreenLanguage, { locale: string; point: string }> = {
  en: { locale: "en-US", point: "" },
  de: { locale: "de-DE", point: "." },
};
const DATE = /^(\d\d:\d\d(?::\d\d)?, )?(\d{4}-\d\d-\d\d)$/;

/** Speaks one language. */
export interface Speaker {
  /** A sentence or word from the station. */
  text(text: Text): string;
  /** A word of the ui's own. */
  ui(key: UiKey, values?: Record<string, string | number>): string;
  /** A whole number with its thousands apart. */
  number(value: number): string;
  /** A date as `23 Nov 2026`. */
  date(iso: string): string;
  /** Its weekday, short. */
  weekday(iso: string): string;
}

function missing(key: string): string {
  if (import.meta.env.DEV) throw new Error(`Missing text: ${key}`);
  console.error("Missing text:", key);
  return key;
}

function speakerOf(language: ScreenLanguage): Speaker {
  const { locale, point } = DATES[language];
  const dates = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  const weekdays = new Intl.DateTimeFormat(locale, { weekday: "short", timeZone: "UTC" });
  const numbers = new Intl.NumberFormat(locale);

  const date = (iso: string) => {
    const day = new Date(`${iso}T00:00:00Z`);
    if (Number.isNaN(day.getTime())) return iso;
    const month = dates.formatToParts(day).find((part) => part.type === "month")?.value ?? "";
    return `${day.getUTCDate()}${point} ${month} ${day.getUTCFullYear()}`;
  };
  const written = (name: string, value: string) => {
    // A count; every other number is a name and stays as it is.
    if (name === "n" && /^\d+$/.test(value)) return numbers.format(Number(value));
    const found = name === "date" || name === "time" ? DATE.exec(value) : null;
    return found?.[2] ? `${found[1] ?? ""}${date(found[2])}` : value;
  };
  const fill = (key: string, values: Readonly<Record<string, string>>) => {
    if (key === "plain") return Object.entries(values).map(([name, value]) => written(name, value)).join(" ");
    const sentence = CATALOGUES[language][key] ?? missing(key);
    return sentence.replace(/\{(\w+)\}/g, (place, name: string) => {
      const value = values[name];
      return value === undefined ? place : written(name, value);
    });
  };

  return {
    text: ({ key, values }) => fill(key, values),
    ui: (key, values = {}) =>
      fill(key, Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]))),
    number: (value) => numbers.format(value),
    date,
    weekday: (iso) => {
      const day = new Date(`${iso}T00:00:00Z`);
      return Number.isNaN(day.getTime()) ? "" : weekdays.format(day).replace(".", "");
    },
  };
}

const SPEAKERS: Record<ScreenLanguage, Speaker> = { en: speakerOf("en"), de: speakerOf("de") };

/** Who speaks this language. */
export const speaker = (language: ScreenLanguage): Speaker => SPEAKERS[language];

/** The sentences of a text, so that the last, which says what to do, can stand out. */
export const sentences = (text: string): string[] => text.split(/(?<=[.!?])\s+(?=\p{Lu})/u);
