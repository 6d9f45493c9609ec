// A wide table scrolls within a wrapper that Material makes after the page has loaded. Readers who have no pointer
// reach it by the tab key.
const reachable = () => {
  for (const wrapper of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) {
    wrapper.tabIndex = 0;
  }
};

new MutationObserver(reachable).observe(document.body, { childList: true, subtree: true });
reachable();
