const KEY = "tilescout.theme";

export type ThemeChoice = "auto" | "dark" | "light";

/** Theme sets the look of the page: as the system says, or as chosen here and remembered in this browser. */
export class Theme {
  private chosen: ThemeChoice = "auto";

  constructor(private readonly root: HTMLElement) {
    try {
      const stored = localStorage.getItem(KEY);
      if (stored === "dark" || stored === "light") {
        this.choose(stored);
      }
    } catch {
      // No storage: the system's choice stays.
    }
  }

  get choice(): ThemeChoice {
    return this.chosen;
  }

  choose(choice: ThemeChoice): void {
    this.chosen = choice;
    // The style sheet follows prefers-color-scheme unless this attribute is set.
    if (choice === "auto") {
      this.root.removeAttribute("data-theme");
    } else {
      this.root.setAttribute("data-theme", choice);
    }
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // As above.
    }
  }
}
