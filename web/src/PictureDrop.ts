import { h } from "./dom";

export interface PictureDropOptions {
  onPicture: (file: File) => void;
}

/** PictureDrop takes pictures: dropped on the page, pasted into it, or picked from a dialogue. */
export class PictureDrop {
  /** What is seen while a file hangs over the page. */
  readonly element = h("div", { class: "tilescout-drop", hidden: true }, h("p", {}, "Drop a picture to find tiles that look like it"));
  private readonly picker = h("input", { type: "file", accept: "image/*", hidden: true });
  private leaving = 0;

  constructor(target: HTMLElement, private readonly options: PictureDropOptions) {
    this.picker.addEventListener("change", () => {
      this.take(this.picker.files);
      this.picker.value = "";
    });
    target.addEventListener("dragover", (event) => {
      if (event.dataTransfer?.types.includes("Files")) {
        event.preventDefault();
        this.hang(true);
      }
    });
    // dragleave comes at every edge inside the page, too: the next dragover takes it back.
    target.addEventListener("dragleave", () => (this.leaving = window.setTimeout(() => this.hang(false), 120)));
    target.addEventListener("drop", (event) => {
      if (event.dataTransfer?.types.includes("Files")) {
        event.preventDefault();
        this.hang(false);
        this.take(event.dataTransfer.files);
      }
    });
    document.addEventListener("paste", (event) => {
      if (event.clipboardData?.files.length) {
        event.preventDefault();
        this.take(event.clipboardData.files);
      }
    });
    target.append(this.picker);
  }

  /** pick opens the browser's dialogue. */
  pick(): void {
    this.picker.click();
  }

  private hang(over: boolean): void {
    window.clearTimeout(this.leaving);
    this.element.hidden = !over;
  }

  private take(files: FileList | null): void {
    const [first] = files ?? [];
    if (first) {
      this.options.onPicture(first);
    }
  }
}
