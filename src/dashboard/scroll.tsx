import type { ComponentChildren } from 'preact';

interface ScrollProps {
  readonly label: string;
  readonly children: ComponentChildren;
}

/** What may be wider than the screen, scrolled by itself. */
export function Scroll({ label, children }: ScrollProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keys (axe: scrollable-region-focusable)
    <section class="scroll" aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}
