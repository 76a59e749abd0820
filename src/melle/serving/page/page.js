"use strict";

// What the page does: asks /v1/audio/speech for events with samples, plays and draws them as they come.

const $ = (id) => document.getElementById(id);
const PIXELS = 200; // of the spectrogram per second
const SENTENCE = "The sun rose slowly over the quiet harbour, and the first boats went out.";
let model = "";
let running = null; // AbortController of the speech that is being made
let recording = null; // Blob for a new voice

// --- the server -----------------------------------------------------------------------------------------------------

async function ask(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  if (answer.status === 401) {
    $("token-form").hidden = false;
    $("token").focus();
  }
  const body = await answer.json().catch(() => null);
  throw new Error(body?.error?.message ?? `the server answered ${answer.status}`);
}

async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) yield JSON.parse(text.slice(6, end));
  }
}

async function load() {
  try {
    const { id, max_characters } = (await (await ask("v1/models")).json()).data[0];
    $("model").textContent = model = id;
    $("text").maxLength = max_characters;
    await loadVoices();
    $("token-form").hidden = true;
  } catch (error) {
    fail(error);
  }
}

async function loadVoices(chosen = $("voice").value) {
  const voices = (await (await ask("v1/voices")).json()).data;
  $("voice").replaceChildren(
    ...voices.map(({ id, owned_by }) => Object.assign(new Option(id, id, false, id === chosen), { owner: owned_by })),
  );
  $("voice").disabled = !voices.length;
  showRemove();
}

const showRemove = () => ($("remove-voice").hidden = $("voice").selectedOptions[0]?.owner !== "user");

function announce(text) {
  $("error").hidden = $("progress").hidden = true;
  $("status").textContent = text;
}

function progress(text) {
  // For eyes alone: a screen reader says the status whenever it changes, over the speech.
  $("progress").textContent = text;
  $("progress").hidden = false;
}

function fail(error) {
  $("progress").hidden = true;
  $("status").textContent = "";
  $("error").textContent = error.message;
  $("error").hidden = false;
}

// --- speaking -------------------------------------------------------------------------------------------------------

class Player {
  // Plays 16-bit samples as they come, a little behind, so that a late piece is not heard as a gap.
  constructor(rate) {
    this.context = new AudioContext();
    this.rate = rate;
    this.begin = null;
    this.seconds = 0;
  }

  add(samples) {
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(Float32Array.from(samples, (sample) => sample / 32768), 0);
    const now = this.context.currentTime;
    this.begin ??= now + 0.25;
    if (this.begin + this.seconds < now) this.begin = now + 0.25 - this.seconds; // it came too late
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.context.destination);
    source.start(this.begin + this.seconds);
    this.seconds += buffer.duration;
  }

  get time() {
    return this.begin === null ? 0 : Math.max(0, this.context.currentTime - this.begin);
  }

  stop() {
    if (this.context.state !== "closed") this.context.close();
  }
}

async function speak() {
  running?.abort();
  const own = (running = new AbortController());
  $("audio").pause();
  $("audio").removeAttribute("src");
  $("audio").load(); // else it keeps the speech before
  $("download").hidden = $("playhead").hidden = true;
  $("result").hidden = false;
  $("stop").disabled = false;
  showWords([]);
  const drawing = new Spectrogram($("spectrogram"));
  const rate = 24000;
  const player = new Player(rate);
  own.signal.addEventListener("abort", () => player.stop());
  const parts = [];
  let ending = null;
  announce("Speaking …");
  follow(() => player.time, () => running === own && ending === null);
  try {
    const begun = performance.now();
    const answer = await ask("v1/audio/speech", {
      method: "POST",
      signal: own.signal,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        model,
        input: $("text").value,
        voice: $("voice").value || null,
        speed: Number($("speed").value),
        seed: Number($("seed").value),
        response_format: "pcm",
        stream_format: "sse",
        words: true,
      }),
    });
    let first = null;
    for await (const event of events(answer)) {
      if (event.type === "error") throw new Error(event.error.message);
      if (event.type === "speech.audio.delta") {
        first ??= performance.now() - begun;
        const bytes = Uint8Array.from(atob(event.audio), (character) => character.charCodeAt(0));
        const samples = new Int16Array(bytes.buffer);
        parts.push(samples);
        player.add(samples);
        drawing.add(samples);
        progress(`${player.seconds.toFixed(1)} s of speech; the first after ${(first / 1000).toFixed(2)} s`);
      }
      if (event.type === "speech.audio.done") ending = event;
    }
    if (ending === null) throw new Error("the speech broke off; try again");
    const took = ((performance.now() - begun) / 1000).toFixed(1);
    const why = {
      stop: "",
      unfinished: ", stopped before the end of the text",
      length: ", cut off at the length limit",
      degenerate: ", cut off as it degenerated",
    };
    const words = why[ending.finish_reason] ?? ", nothing in it can be heard";
    announce(`${ending.seconds.toFixed(1)} s of speech in ${took} s; the first after ${(first / 1000).toFixed(2)} s${words}`);
    finish(parts, rate, ending.words, player, own);
  } catch (error) {
    player.stop();
    if (running !== own) return;
    $("stop").disabled = true;
    if (own.signal.aborted) announce("Stopped.");
    else {
      $("result").hidden = true;
      fail(error);
    }
  }
}

function finish(parts, rate, words, player, own) {
  const url = URL.createObjectURL(wave(parts, rate));
  const audio = $("audio");
  if (audio.dataset.url) URL.revokeObjectURL(audio.dataset.url);
  audio.dataset.url = audio.src = $("download").href = url;
  $("download").hidden = false;
  showWords(words);
  const live = () => running === own && player.context.state !== "closed" && player.time < player.seconds;
  follow(() => player.time, live, () => {
    player.stop();
    if (running === own) $("stop").disabled = true;
  });
}

function stop() {
  running?.abort();
  $("audio").pause();
  $("stop").disabled = true;
}

// --- spectrogram and words ------------------------------------------------------------------------------------------

class Spectrogram {
  // Columns of 10 ms, rows of 47 Hz; samples at 24 kHz.
  static SIZE = 512;
  static HOP = 240;
  static ROWS = 171;

  constructor(canvas) {
    this.canvas = canvas;
    canvas.width = 1;
    canvas.style.width = "1px";
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.columns = 0;
    this.colour = getComputedStyle(canvas).color.match(/\d+/g).slice(0, 3).map(Number);
    this.rest = new Float32Array(Spectrogram.SIZE - Spectrogram.HOP);
    this.window = Float32Array.from({ length: Spectrogram.SIZE }, (_, n) => Math.sin((Math.PI * n) / Spectrogram.SIZE) ** 2);
  }

  add(samples) {
    const { SIZE, HOP, ROWS } = Spectrogram;
    const all = new Float32Array(this.rest.length + samples.length);
    all.set(this.rest);
    samples.forEach((sample, n) => (all[this.rest.length + n] = sample / 32768));
    const count = Math.max(0, Math.floor((all.length - SIZE) / HOP) + 1);
    this.rest = all.slice(count * HOP);
    if (!count) return;
    const image = new ImageData(count, ROWS);
    for (let column = 0; column < count; column++) {
      const real = all.slice(column * HOP, column * HOP + SIZE).map((sample, n) => sample * this.window[n]);
      const imaginary = new Float32Array(SIZE);
      fourier(real, imaginary);
      for (let row = 0; row < ROWS; row++) {
        const level = Math.log10(Math.hypot(real[row], imaginary[row]) + 1e-6); // about -6 to 2
        const place = 4 * ((ROWS - 1 - row) * count + column);
        image.data.set(this.colour, place);
        image.data[place + 3] = 255 * Math.min(1, Math.max(0, (level + 1.7) / 2.7));
      }
    }
    this.reserve(this.columns + count);
    this.context.putImageData(image, this.columns, 0);
    this.columns += count;
  }

  reserve(columns) {
    const before = this.columns && this.context.getImageData(0, 0, this.columns, Spectrogram.ROWS);
    this.canvas.width = columns;
    this.canvas.style.width = `${(columns * Spectrogram.HOP * PIXELS) / 24000}px`;
    if (before) this.context.putImageData(before, 0, 0);
  }
}

function fourier(real, imaginary) {
  // In place; radix 2.
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j], imaginary[i], imaginary[j]] = [real[j], real[i], imaginary[j], imaginary[i]];
  }
  for (let length = 2; length <= size; length *= 2) {
    for (let begin = 0; begin < size; begin += length) {
      for (let n = 0; n < length / 2; n++) {
        const angle = (-2 * Math.PI * n) / length;
        const [a, b] = [begin + n, begin + n + length / 2];
        const re = real[b] * Math.cos(angle) - imaginary[b] * Math.sin(angle);
        const im = real[b] * Math.sin(angle) + imaginary[b] * Math.cos(angle);
        [real[a], real[b]] = [real[a] + re, real[a] - re];
        [imaginary[a], imaginary[b]] = [imaginary[a] + im, imaginary[a] - im];
      }
    }
  }
}

function showWords(words) {
  const places = words.map(({ word, start, end }) => {
    const place = Object.assign(document.createElement("span"), { textContent: word });
    place.style.left = `${start * PIXELS}px`;
    Object.assign(place.dataset, { start, end });
    return place;
  });
  $("words").replaceChildren(...places);
  const ends = [0, 0]; // of two lines: a word that has no room in the first goes into the second
  for (const place of places) {
    const line = place.offsetLeft < ends[0] && ends[1] <= ends[0] ? 1 : 0;
    place.style.top = `${0.2 + 1.35 * line}rem`;
    ends[line] = place.offsetLeft + place.offsetWidth;
  }
  $("words").style.height = ends[1] ? "3.2rem" : "";
}

function follow(time, going, after = () => {}) {
  // Moves the playhead and marks the word, once a frame, as long as it goes on.
  const head = $("playhead");
  const frame = () => {
    const seconds = time();
    head.hidden = false;
    head.style.left = `${seconds * PIXELS}px`;
    const scroller = $("scroller");
    const x = seconds * PIXELS - scroller.scrollLeft;
    if (x < 0 || x > scroller.clientWidth * 0.9) scroller.scrollLeft = seconds * PIXELS - scroller.clientWidth * 0.1;
    for (const word of $("words").children) word.classList.toggle("now", word.dataset.start <= seconds && seconds < word.dataset.end);
    if (going()) requestAnimationFrame(frame);
    else after();
  };
  requestAnimationFrame(frame);
}

// --- sound files ----------------------------------------------------------------------------------------------------

function wave(parts, rate) {
  const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const header = new DataView(new ArrayBuffer(44));
  const letters = (place, text) => [...text].forEach((letter, n) => header.setUint8(place + n, letter.charCodeAt(0)));
  letters(0, "RIFF");
  header.setUint32(4, 36 + bytes, true);
  letters(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // integers
  header.setUint16(22, 1, true); // one channel
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  letters(36, "data");
  header.setUint32(40, bytes, true);
  return new Blob([header, ...parts], { type: "audio/wav" });
}

async function asWave(blob) {
  // What the browser can read, as WAV, for the server reads fewer formats; else as it is.
  try {
    const rate = 24000;
    const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await blob.arrayBuffer());
    const channels = Array.from({ length: sound.numberOfChannels }, (_, n) => sound.getChannelData(n));
    const mean = (n) => channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length;
    return wave([Int16Array.from({ length: sound.length }, (_, n) => 32767 * Math.max(-1, Math.min(1, mean(n))))], rate);
  } catch {
    return blob;
  }
}

// --- voices ---------------------------------------------------------------------------------------------------------

async function useRecording(blob) {
  recording = await asWave(blob);
  $("voice-audio").src = URL.createObjectURL(recording);
  $("voice-audio").hidden = false;
}

async function record() {
  const button = $("record");
  if (button.recorder) {
    button.recorder.stop();
    return;
  }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const parts = [];
    const recorder = (button.recorder = new MediaRecorder(stream));
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = async () => {
      stream.getTracks().forEach((track) => track.stop());
      button.recorder = null;
      button.textContent = "Record";
      button.setAttribute("aria-pressed", "false");
      await useRecording(new Blob(parts, { type: recorder.mimeType }));
      announce("Recorded: listen to it, and save the voice.");
    };
    $("voice-text").value ||= SENTENCE;
    recorder.start();
    button.textContent = "Stop recording";
    button.setAttribute("aria-pressed", "true");
    announce("Recording: read out what stands in the box below.");
  } catch {
    fail(new Error("no microphone: allow it in the browser, and open the page as localhost or by https"));
  }
}

async function addVoice() {
  if (!recording) {
    fail(new Error("choose a recording, or make one"));
    return;
  }
  const form = new FormData();
  form.append("name", $("voice-name").value);
  form.append("text", $("voice-text").value);
  form.append("audio", recording, "recording");
  try {
    announce("Saving the voice …");
    const { id, warnings } = await (await ask("v1/voices", { method: "POST", body: form })).json();
    await loadVoices(id);
    $("voice-form").reset();
    $("voice-audio").hidden = true;
    recording = null;
    $("add-voice").open = false;
    announce([`The voice ${id} is there.`, ...warnings].join(" Note: "));
    $("voice").focus();
  } catch (error) {
    fail(error);
  }
}

async function removeVoice() {
  const id = $("voice").value;
  if (!confirm(`Remove the voice ${id}?`)) return;
  try {
    await ask(`v1/voices/${encodeURIComponent(id)}`, { method: "DELETE" });
    await loadVoices();
    announce(`The voice ${id} is removed.`);
  } catch (error) {
    fail(error);
  }
}

// --- controls -------------------------------------------------------------------------------------------------------

const on = (id, kind, handler) => $(id).addEventListener(kind, handler);
const submit = (id, handler) => on(id, "submit", (event) => (event.preventDefault(), handler()));

submit("speak-form", speak);
submit("voice-form", addVoice);
submit("token-form", () => {
  sessionStorage.setItem("token", $("token").value);
  announce("");
  load();
});
on("stop", "click", stop);
on("voice", "change", showRemove);
on("remove-voice", "click", removeVoice);
on("record", "click", record);
on("voice-file", "change", ({ target }) => target.files.length && useRecording(target.files[0]));
on("speed", "input", ({ target }) => ($("speed-value").textContent = Number(target.value).toFixed(2)));
on("another-seed", "click", () => ($("seed").value = crypto.getRandomValues(new Uint32Array(1))[0]));
on("audio", "play", () => {
  running?.abort(); // what is heard already
  const audio = $("audio");
  follow(() => audio.currentTime, () => !audio.paused);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("speak-form").requestSubmit();
  if (event.key === "Escape") stop();
});
load();
