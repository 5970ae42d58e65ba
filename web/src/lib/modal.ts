/** Opens a dialog over the page as it comes: focus moves in, Escape closes it. */
export function modal(node: HTMLDialogElement): void {
  node.showModal();
}
