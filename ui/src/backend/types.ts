// Made from station/src/screen.rs. To write it anew: LOTGATE_WRITE_TYPES=1 cargo test -p lotgate-station types

/**
 * A place of the bar at the bottom.
 */
export type Action = {
/**
 * What it says.
 */
label: Text,
/**
 * Name of the icon (lucide).
 */
icon: string,
/**
 * Where it stands.
 */
place: Place,
/**
 * What touching it asks for; none for a slot that waits for a scan, or for something else.
 */
request: Request | null, };

/**
 * What needs a person and is no act: it stays until it is settled.
 */
export type Alarm = {
/**
 * The word of what presses most; none while nothing does.
 */
word: Text | null,
/**
 * How many more there are.
 */
more: number,
/**
 * Goes up with each new one, whose sound is then due.
 */
sound: number, };

/**
 * An answer to the question whether a label was printed: a large button of its own.
 */
export type Answer = {
/**
 * What it says.
 */
title: Text,
/**
 * What comes next.
 */
sentence: Text,
/**
 * Name of the icon (lucide).
 */
icon: string,
/**
 * What touching it asks for.
 */
request: Request, };

/**
 * What the station says.
 */
export type Band = {
/**
 * State: icon, colour and word.
 */
state: BandState,
/**
 * Goes up when the state's sound is due; a screen with the same number is silent.
 */
sound: number,
/**
 * What happened.
 */
title: Text,
/**
 * Why, or what to do.
 */
sentence: Text,
/**
 * What was read, from which device, when.
 */
echo: Echo | null, };

/**
 * State of the band (RULES.md, States).
 */
export type BandState = "asks" | "accepted" | "refused" | "needs_you" | "fault";

/**
 * What a person finds at the printer.
 */
export type Came = "one" | "nothing" | "damaged";

/**
 * One check of a scan.
 */
export type CheckRow = {
/**
 * What was checked: `check_code`, `check_item`, `check_lot`, `check_status`, `check_expiry`.
 */
check: Text,
/**
 * What was expected.
 */
expected: Text,
/**
 * What was read or is known.
 */
found: Text,
/**
 * It holds; none: not reached.
 */
holds: boolean | null, };

/**
 * A code to touch in a demonstration.
 */
export type DemoCode = {
/**
 * What it is.
 */
label: string,
/**
 * Its number for [`Request::DemoScan`].
 */
number: number, };

/**
 * A device.
 */
export type DeviceRow = {
/**
 * Its name.
 */
name: Text,
/**
 * Port, address, or how it is kept.
 */
detail: Text,
/**
 * Local time when it was last heard, with its date if that was not today.
 */
heard: Text | null,
/**
 * One or two words.
 */
state: Text,
/**
 * How that is marked.
 */
mark: Mark, };

/**
 * The screen of queue and devices.
 */
export type Devices = {
/**
 * Scanners, printers, clock, key store, disk.
 */
rows: Array<DeviceRow>,
/**
 * Operations that wait for the network.
 */
waiting: number,
/**
 * Sent, not receipted.
 */
sent: number,
/**
 * Under a verified receipt.
 */
settled: number,
/**
 * Network: since when, or when the next attempt is.
 */
network: Text,
/**
 * Facts: last receipt, checkpoint, snapshot, program.
 */
facts: Array<Fact>,
/**
 * What needs a person, as sentences.
 */
alarms: Array<Text>, };

/**
 * The right side of the band.
 */
export type Echo = {
/**
 * What it is: read, since.
 */
label: Text,
/**
 * The text that was read, control characters visible as their symbols.
 */
code: string,
/**
 * Symbology, device and time.
 */
detail: Text, };

/**
 * Enrolment by a token that is scanned or typed.
 */
export type Enrol = {
/**
 * The cloud that it would enrol at.
 */
server: string | null,
/**
 * How many characters of a token were given; the token itself is a secret.
 */
typed: number,
/**
 * Fingerprint of the root key that a whole token names, in groups of four, to compare with the qualification record.
 */
fingerprint: string | null,
/**
 * The request is under way.
 */
working: boolean,
/**
 * The page of the keyboard is open.
 */
keyboard: boolean, };

/**
 * A name and its value.
 */
export type Fact = {
/**
 * Name.
 */
name: Text,
/**
 * Value.
 */
value: Text, };

/**
 * The station cannot work.
 */
export type FaultView = {
/**
 * Closed code.
 */
code: string,
/**
 * What happened, why, what to do.
 */
sentence: Text,
/**
 * Particulars for IT.
 */
detail: string,
/**
 * What was lost (nothing) and what goes on.
 */
safe: Text, };

/**
 * A step of a print job's way.
 */
export type JobStep = {
/**
 * Its word.
 */
title: Text,
/**
 * What it means.
 */
sentence: Text,
/**
 * Local time, `HH:MM:SS`, once it was reached.
 */
at: string | null,
/**
 * How it stands.
 */
state: StepState, };

/**
 * The label screen.
 */
export type Label = {
/**
 * The label as a PNG picture, base64, drawn from the very bytes for the printer.
 */
preview: string,
/**
 * Width and height on paper.
 */
size: Text,
/**
 * What it says, for whoever cannot see the picture.
 */
words: string,
/**
 * Name of the printer.
 */
printer: string,
/**
 * Title: original or which copy.
 */
title: Text,
/**
 * The job's way, in order.
 */
steps: Array<JobStep>,
/**
 * Bytes and hash.
 */
record: Text,
/**
 * How many labels wait behind this one; none if none does.
 */
behind: Text | null,
/**
 * The answers to the one question, instead of the steps; empty while there is none.
 */
answers: Array<Answer>, };

/**
 * A lot of the reference data.
 */
export type LotRow = {
/**
 * Its number.
 */
lot: string,
/**
 * Its item, name or code.
 */
item: string,
/**
 * Expiry, or that there is none.
 */
expiry: Text,
/**
 * Why it may not be used: `lot_chip_held`, …; none if it may.
 */
blocked: Text | null, };

/**
 * The question, by screen.
 */
export type Main = { "kind": "starting" } | { "kind": "enrol" } & Enrol | { "kind": "scan" } & Scan | { "kind": "label" } & Label | { "kind": "devices" } & Devices | { "kind": "fault" } & FaultView;

/**
 * How a standing state is marked.
 */
export type Mark = "ready" | "needs_you" | "fault" | "offline";

/**
 * While the cloud is away: since when, what is safe here, what still works, what to do.
 */
export type Offline = {
/**
 * Why, with the time since when.
 */
since: Text,
/**
 * How much is safe here.
 */
safe: Text,
/**
 * What still works.
 */
works: Text,
/**
 * What to do.
 */
todo: Text, };

/**
 * Where an action stands.
 */
export type Place = "back" | "middle" | "primary" | "scan_slot" | "waits";

/**
 * What a person asks the station for by touching the screen.
 */
export type Request = { "request": "keyboard",
/**
 * Open.
 */
open: boolean, } | { "request": "key",
/**
 * The character.
 */
key: string, } | { "request": "erase" } | { "request": "discard" } | { "request": "enrol" } | { "request": "print_label",
/**
 * The scan that accepted it, as shown.
 */
scan: string, } | { "request": "cancel_print",
/**
 * The job, as shown.
 */
job: string, } | { "request": "printed",
/**
 * The job that was asked about, as shown.
 */
job: string,
/**
 * What came out.
 */
came: Came, } | { "request": "print_again",
/**
 * The job of that label, as shown.
 */
job: string, } | { "request": "doubt_label",
/**
 * Its job, as shown.
 */
job: string, } | { "request": "show_devices" } | { "request": "show_scan" } | { "request": "try_now" } | { "request": "language",
/**
 * Which.
 */
language: ScreenLanguage, } | { "request": "restart" } | { "request": "demo_scan",
/**
 * Which.
 */
number: number, };

/**
 * The scan screen.
 */
export type Scan = {
/**
 * The last scan, until the next act.
 */
result: ScanResult | null,
/**
 * Lots that are known, in order of use, as many as fit.
 */
lots: Array<LotRow>,
/**
 * How many more there are.
 */
more_lots: number,
/**
 * How old that knowledge is; says so if there is none.
 */
as_of: Text, };

/**
 * What a scan came to.
 */
export type ScanResult = {
/**
 * It was accepted.
 */
accepted: boolean,
/**
 * The lot that was recognised.
 */
lot: string | null,
/**
 * Its item, name or code.
 */
item: string | null,
/**
 * Every check and what it found, in order.
 */
checks: Array<CheckRow>,
/**
 * A sentence about the record: number of the operation.
 */
recorded: Text, };

/**
 * One whole screen.
 */
export type Screen = {
/**
 * Goes up with each screen of one run of the program; the ui tells it back when it is painted.
 */
revision: number,
/**
 * Its language.
 */
language: ScreenLanguage,
/**
 * The bar on top, always there.
 */
top: Top,
/**
 * The bar below it, while the cloud is away.
 */
offline: Offline | null,
/**
 * The one place where the station speaks.
 */
band: Band,
/**
 * The question.
 */
main: Main,
/**
 * The bar at the bottom, from left to right.
 */
actions: Array<Action>,
/**
 * What needs a person whatever is on the screen, at the action that leads to it.
 */
alarm: Alarm,
/**
 * Codes to touch, in a demonstration only.
 */
demo: Array<DemoCode>, };

/**
 * Language of the screen.
 */
export type ScreenLanguage = "en" | "de";

/**
 * How a step of a print job stands.
 */
export type StepState = "done" | "now" | "needs_you" | "fault" | "open";

/**
 * A sentence or word of the message catalogue. `{name}` in it stands for `values[name]`.
 */
export type Text = {
/**
 * Key of the catalogue.
 */
key: string,
/**
 * What is filled in, as it is written; counts are digits under the name `n`. Dates are `YYYY-MM-DD` under the
 * name `date`, or after a time and a comma under the name `time`: a lot may look like a date and must not be
 * rewritten.
 */
values: { [key in string]: string }, };

/**
 * The bar on top.
 */
export type Top = {
/**
 * Name of the station; none before it is enrolled.
 */
station: string | null,
/**
 * Name of its site.
 */
site: string | null,
/**
 * It records training, never real work.
 */
training: boolean,
/**
 * Its configured devices are simulated.
 */
simulated: boolean,
/**
 * Local date, `YYYY-MM-DD`.
 */
date: string,
/**
 * Local time, `HH:MM`.
 */
time: string,
/**
 * Abbreviation of the zone.
 */
zone: string,
/**
 * The way to the cloud, in one word: `net_online`, `net_connecting`, `net_offline`, `net_trouble`, `net_paused`, `net_none`.
 */
network: Text,
/**
 * The network is away.
 */
offline: boolean,
/**
 * How many operations wait for the cloud's receipt.
 */
waiting: number,
/**
 * Age of the oldest of them, with its unit: `age_s`, `age_min`, `age_h`, `age_d`, value `n`.
 */
oldest: Text | null, };
