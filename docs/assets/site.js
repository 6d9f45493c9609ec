// Wide tables and rows of tabs scroll within wrappers that Material makes after the page has loaded. Readers who have
// no pointer reach them by the tab key.
const reachable = () => {
  for (const wrapper of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex]), .tabbed-labels:not([tabindex])")) {
    wrapper.tabIndex = 0;
  }
};

new MutationObserver(reachable).observe(document.body, { childList: true, subtree: true });
reachable();
