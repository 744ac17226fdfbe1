// Everything that can be operated has a name; what has a role of a widget has the states that go
// with it; references lead somewhere; no id is used twice; buttons are large enough to hit.
() => {
  const faults = [];
  const name = (element) => {
    const by = element.getAttribute('aria-labelledby');
    if (by)
      return by
        .split(' ')
        .map((id) => document.getElementById(id)?.textContent ?? '')
        .join(' ')
        .trim();
    return (
      element.getAttribute('aria-label')?.trim() ||
      [...(element.labels ?? [])].map((label) => label.textContent.trim()).join(' ') ||
      element.textContent.trim()
    );
  };
  const visible = (element) => element.checkVisibility({ visibilityProperty: true });
  const say = (element, fault) => faults.push(`${fault}: ${element.outerHTML.slice(0, 120)}`);
  for (const element of document.querySelectorAll(
    'button, a[href], input, textarea, select, [role=menuitem], [tabindex="0"], dialog, aside, section, article, [role=meter], [role=menu], [role=toolbar]',
  )) {
    if (visible(element) && !name(element)) say(element, 'no name');
  }
  for (const element of document.querySelectorAll('video, svg, i')) {
    if (
      !element.closest('[aria-hidden=true]') &&
      !element.getAttribute('aria-label') &&
      !element.closest('[role=meter]')
    )
      say(element, 'neither named nor hidden');
  }
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) faults.push(`id twice: ${id}`);
  for (const element of document.querySelectorAll('[aria-describedby], [aria-labelledby], [aria-errormessage]')) {
    for (const key of ['aria-describedby', 'aria-labelledby', 'aria-errormessage']) {
      for (const id of (element.getAttribute(key) ?? '').split(' ').filter(Boolean))
        if (!document.getElementById(id)) say(element, `${key} points nowhere`);
    }
  }
  for (const element of document.querySelectorAll('[aria-haspopup]'))
    if (!element.hasAttribute('aria-expanded')) say(element, 'no aria-expanded');
  if (!document.documentElement.lang) faults.push('no language');
  if (document.querySelectorAll('main').length !== 1) faults.push('not one main');
  for (const element of document.querySelectorAll('button')) {
    const { width, height } = element.getBoundingClientRect();
    if (visible(element) && width && (width < 24 || height < 24)) say(element, 'too small to hit');
  }
  return faults;
};
