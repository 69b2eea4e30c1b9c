import type { BandState } from "./backend/types";

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

function play(state: BandState): void {
  audio ??= new AudioContext();
  // A window that was not touched yet may be silent; the band says the same.
  if (audio.state === "suspended") audio.resume().catch(() => undefined);
  for (const [start, length, pitch] of TONES[state]) {
    const [begin, end] = [audio.currentTime + start / 1000, audio.currentTime + (start + length) / 1000];
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

/** Plays the sound of a band once when its number has gone up. The first band is silent: its sound is past. */
export function sounds(): (state: BandState, number: number) => void {
  let last: number | undefined;
  return (state, number) => {
    const due = last !== undefined && number > last;
    last = number;
    if (!due) return;
    try {
      play(state);
    } catch (error) {
      // A machine without a loudspeaker is still a station.
      console.warn("No sound:", error);
    }
  };
}
