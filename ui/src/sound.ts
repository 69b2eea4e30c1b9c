import type { Alarm, Band, BandState } from "./backend/types";

/** One tone: when it begins and how long it lasts, in milliseconds, and its pitch in hertz. */
type Tone = readonly [start: number, length: number, pitch: number];

/** RULES, States. Told apart by number, length and direction of the tones, not by pitch alone. */
const TONES: Record<BandState, readonly Tone[]> = {
  asks: [],
  accepted: [[0, 90, 1760]],
  refused: [[0, 250, 330], [300, 250, 220]],
  needs_you: [[0, 120, 660], [150, 120, 880], [300, 120, 1175]],
  fault: [[0, 80, 520], [140, 80, 520], [280, 80, 520], [420, 80, 520]],
};
const LOUDNESS = 0.5;
/** Rise and fall of a tone, in seconds: without them a loudspeaker clicks. */
const EDGE = 0.005;

let audio: AudioContext | undefined;

/** In seconds: an alarm of the same moment is heard after the band, not in it. */
const AFTER_BAND = 0.8;

function play(state: BandState, after = 0): void {
  audio ??= new AudioContext();
  // A window that was not touched yet may be silent; the band says the same.
  if (audio.state === "suspended") audio.resume().catch(() => undefined);
  for (const [start, length, pitch] of TONES[state]) {
    const begin = audio.currentTime + after + start / 1000;
    const end = begin + length / 1000;
    const [tone, loudness] = [audio.createOscillator(), audio.createGain()];
    tone.frequency.value = pitch;
    tone.type = "triangle";
    loudness.gain.setValueAtTime(0, begin);
    loudness.gain.linearRampToValueAtTime(LOUDNESS, begin + EDGE);
    loudness.gain.setValueAtTime(LOUDNESS, end - EDGE);
    loudness.gain.linearRampToValueAtTime(0, end);
    tone.connect(loudness).connect(audio.destination);
    tone.start(begin);
    tone.stop(end);
  }
}

/** Says whether a number went up. The first one did not: its sound is past. */
function rising(): (number: number) => boolean {
  let last: number | undefined;
  return (number) => {
    const due = last !== undefined && number > last;
    last = number;
    return due;
  };
}

/** Plays the sound of a band, and that of a new alarm, once when its number has gone up. */
export function sounds(): (band: Band, alarm: Alarm) => void {
  const [ofBand, ofAlarm] = [rising(), rising()];
  return (band, alarm) => {
    const [said, alarmed] = [ofBand(band.sound), ofAlarm(alarm.sound)];
    try {
      if (said) play(band.state);
      if (alarmed) play("needs_you", said ? AFTER_BAND : 0);
    } catch (error) {
      // A machine without a loudspeaker is still a station.
      console.warn("No sound:", error);
    }
  };
}
