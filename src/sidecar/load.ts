/** One place where requests or connections go, as the ones who choose between several see it. */
export interface Load {
  /** Requests and connections under way there; whoever adds one takes it off again. */
  active: number;
  /** True when nothing new should go there any more. */
  readonly retired: boolean;
  /** A final response came from there. */
  answered(status: number): void;
  /** A request was given to it and no response came. */
  unanswered(): void;
}

/** The only place there is: nothing depends on how it does. */
export function onlyLoad(): Load {
  return { active: 0, retired: false, answered() {}, unanswered() {} };
}
