import type { Action, Place } from "./backend/types";

const ENDS: readonly Place[] = ["primary", "scan_slot", "waits"];

/** The next act: what stands at the far right of the bar at the bottom. */
export const nextAct = (actions: Action[]): Action | undefined =>
  actions.findLast((action) => ENDS.includes(action.place));
