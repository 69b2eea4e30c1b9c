// What a screen says, by the message catalogue.
import { readFileSync } from "node:fs";
import { repository } from "./rig.mjs";

const read = (language) => JSON.parse(readFileSync(`${repository}/domain/text/${language}.json`, "utf8"));
export const catalogue = { en: read("en"), de: read("de") };

const isText = (value) => typeof value?.key === "string" && typeof value?.values === "object";

/** Every text of a screen: `{key, values}`. */
export function texts(value) {
  if (isText(value)) return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(texts);
}

/** Members whose value is shown as it is. */
const SHOWN = new Set(["station", "site", "zone", "time", "code", "lot", "item", "printer", "server", "fingerprint", "detail", "at", "heard"]);

/** Every word of a screen that is not of the catalogue: lots, names, codes, times. */
export function plainWords(value) {
  if (isText(value) || typeof value !== "object" || value === null) return [];
  // Behind the keyboard stands what was said before it was opened.
  if (value.kind === "enrol" && value.keyboard) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    typeof member === "string" ? (SHOWN.has(name) ? [member] : []) : plainWords(member));
}

const DATE = /\d{4}-\d\d-\d\d$/;
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** What the page must contain for a text; what fills a place may be written in the way of the language. */
export function pattern(text, language) {
  if (text.key === "plain") return new RegExp(Object.values(text.values).filter((value) => !DATE.test(value)).map(escaped).join("[^]*?"));
  const template = catalogue[language][text.key];
  if (template === undefined) return undefined;
  const parts = template.split(/\{\w+\}/).map((part) => escaped(part.trim()).replace(/\s+/g, "\\s+"));
  return new RegExp(parts.join("[^]*?"));
}
