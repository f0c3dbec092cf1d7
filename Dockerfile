FROM python:3.11-slim

RUN useradd --create-home labretto && mkdir /lab && chown labretto /lab
COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
RUN pip install --no-cache-dir "/source[hub]" && rm -r /source

USER labretto
ENV LABRETTO_HOME=/lab
VOLUME /lab
EXPOSE 8000
CMD ["labretto", "up", "--host", "0.0.0.0", "--port", "8000"]
