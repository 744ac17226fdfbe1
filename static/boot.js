// Says so where the page's modules do not come, or are in a language that the browser does not know.
// Not a module, and in the JavaScript of 2009, because that is when it is needed.
(function () {
  var WORDS = {
    en: ['The page did not load completely.', 'Load it again', 'This browser is too old for calls. Please update it, or use another one.'],
    zh: ['页面未能完整加载。', '重新加载', '此浏览器版本过旧，无法通话。请更新或换用其他浏览器。']
  };
  var told = false;

  function tell(old) {
    var app = document.getElementById('app');
    if (told || !app || document.body.getAttribute('data-screen')) return;
    told = true;
    var words = WORDS[String(navigator.language || 'en').slice(0, 2)] || WORDS.en;
    var text = document.createElement('p');
    text.appendChild(document.createTextNode(words[old ? 2 : 0]));
    var link = document.createElement('a');
    link.href = location.href;
    link.className = 'primary';
    link.appendChild(document.createTextNode(words[1]));
    link.onclick = function () { location.reload(); return false; };
    while (app.firstChild) app.removeChild(app.firstChild);
    var box = document.createElement('div');
    box.className = 'farewell';
    box.setAttribute('role', 'alert');
    box.appendChild(text);
    box.appendChild(link);
    app.appendChild(box);
  }

  function soon(old) {
    if (document.body) tell(old);
    else document.addEventListener('DOMContentLoaded', function () { tell(old); });
  }

  // A module that did not come is reported at the script that wants it; bubbling errors are not told apart.
  window.addEventListener('error', function (event) {
    var target = event.target;
    if (target && target.type === 'module') soon(false);
    else if (event.error instanceof SyntaxError) soon(true);
  }, true);
  if (!('noModule' in document.createElement('script')) || !window.RTCPeerConnection) soon(true);
})();
