// Light, dark, or as the system: set before anything is drawn, so that nothing flashes. No module, for that reason.
(() => {
  const CHOICES = { auto: ["◐", "as the system"], light: ["☀", "light"], dark: ["☾", "dark"] };
  const NEXT = { auto: "light", light: "dark", dark: "auto" };
  const stored = () => {
    try {
      const choice = localStorage.getItem("curb-theme");
      return choice in CHOICES ? choice : "auto";
    } catch {
      return "auto";
    }
  };
  let choice = stored();

  function apply() {
    const root = document.documentElement;
    if (choice === "auto") delete root.dataset.theme;
    else root.dataset.theme = choice;
    const button = document.getElementById("theme");
    if (!button) return;
    const [sign, word] = CHOICES[choice];
    button.textContent = sign;
    button.title = `Colours: ${word}`;
    button.setAttribute("aria-label", `Colours: ${word}`);
    window.dispatchEvent(new Event("themechange"));
  }

  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      choice = NEXT[choice];
      try {
        localStorage.setItem("curb-theme", choice);
      } catch {
        // Without storage the choice holds until the page is left.
      }
      apply();
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
})();
