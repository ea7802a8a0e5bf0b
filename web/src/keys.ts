export interface KeyActions {
  field: () => void;
  step: (by: 1 | -1) => void;
  help: () => void;
  escape: () => void;
}

/** listenForKeys runs the page's single keys, unless somebody types or holds a modifier. */
export function listenForKeys(target: Document, actions: KeyActions): void {
  target.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement && event.target.type === "text" && !event.target.readOnly;
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) {
      return;
    }
    switch (event.key) {
      case "/":
        event.preventDefault();
        actions.field();
        break;
      case "j":
        actions.step(1);
        break;
      case "k":
        actions.step(-1);
        break;
      case "?":
        actions.help();
        break;
      case "Escape":
        actions.escape();
        break;
    }
  });
}
