// Signing in: the token goes to the hub once, what comes back is a cookie that no script can read.

const form = document.getElementById("sign-in");
const refused = document.getElementById("refused");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  refused.textContent = "";
  const body = JSON.stringify({ token: document.getElementById("token").value.trim() });
  const answer = await fetch("/session", { method: "POST", headers: { "Content-Type": "application/json" }, body }).catch(() => null);
  if (answer?.ok) return location.reload();
  const problem = await answer?.json().catch(() => null);
  refused.textContent = problem?.detail ?? "The hub did not answer; is it running?";
});
