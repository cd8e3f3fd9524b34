// Forwards R's call at loading time to Rust: a reference from C keeps the linker from dropping the
// static library.

void R_init_entrar_extendr(void *dll);
void register_extendr_panic_hook(void);

void R_init_entrar(void *dll) {
    register_extendr_panic_hook();
    R_init_entrar_extendr(dll);
}
