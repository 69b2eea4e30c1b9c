import { mount } from "svelte";
import App from "./App.svelte";
import { guard } from "./guard";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/panel.css";
import "./styles/screens.css";

guard();
const target = document.getElementById("app");
if (!target) throw new Error("The page has no place for the app");
// Texts are measured, so the fonts come first. They lie beside the program.
const fonts = ['560 20px "Atkinson Hyperlegible Next"', '560 20px "Atkinson Hyperlegible Mono"'];
await Promise.allSettled(fonts.map((font) => document.fonts.load(font)));
mount(App, { target });
